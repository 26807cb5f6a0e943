def rasterize(*a, **k): raise NotImplementedError
