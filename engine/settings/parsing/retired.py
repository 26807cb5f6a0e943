"""Settings of the paper's repository that steer nothing here: as a flag each gets its reason, as a JSON key none."""

from __future__ import annotations

_STAGE_ONE = "it belongs to the training of an expert, which is over before the router is trained; leave it out"
_CHECKPOINT = "it is read from the expert's checkpoint or its cfg_args; leave it out"
_UNUSED = "it never had an effect; leave it out"
_EXPERT_NETWORK = "the expert's network is read from its checkpoint; leave it out"

_NAMES = {
    _UNUSED: """
        ip port gaussian_dim time_duration num_pts num_pts_ratio rot_4d force_sh_3d batch_size train_inverval
        mini_batch lambda_flow prune_weight_threshold env_map_res eval_shfs_4d convert_SHs_python
        compute_cov3D_python llffhold""",
    _CHECKPOINT: """
        sh_degree interp_type rot_interp_type time_interval time_pad var_pad time_pad_type kernel_size start_duration
        model white_background""",
    _EXPERT_NETWORK: """
        net_width defor_depth min_embeddings max_embeddings no_ds no_dr no_do no_dc temporal_embedding_dim
        gaussian_embedding_dim use_coarse_temporal_embedding no_c2f_temporal_embedding no_coarse_deform no_fine_deform
        total_num_frames c2f_temporal_iter deform_from_iter use_anneal zero_temporal net_width_2 timebase_pe
        defor_depth_2 posebase_pe scale_rotation_pe opacity_pe timenet_width timenet_output bounds plane_tv_weight
        time_smoothness_weight l1_time_planes kplanes_config multires no_dx no_grid no_ds_2 no_dr_2 no_do_2 no_dshs
        empty_voxel grid_pe static_mlp apply_rotation""",
    _STAGE_ONE: """
        sample_every progressive_step position_lr_init position_lr_final position_lr_delay_mult position_lr_max_steps
        dynamic_position_lr_init dynamic_position_lr_final dynamic_position_lr_delay_mult
        dynamic_position_lr_max_steps opacity_lr scaling_lr rotation_lr disp_lr feature_motion_lr rotation_motion_lr
        opacity_motion_lr opacity_motion_center_lr opacity_motion_var_lr percent_dense l1_accum prune_threshold
        prune_STG_threshold prune_deform_threshold prune_A_threshold prune_weight_interval prune_from_iter
        densification_interval opacity_reset_interval densify_from_iter extract_from_iter densify_until_iter
        progressive_growing_steps error_base_prune_steps ssim_prune_every l1_prune_every make_dynamic_interval
        extracton_interval extract_every extract_percentile prune_invisible_interval densify_grad_threshold
        densify_dgrad_threshold s_max_ssim s_l1_thres d_max_ssim d_l1_thres static_reg motion_reg rot_reg coord_reg
        random_background position_t_lr_init deformation_lr_init deformation_lr_final deformation_lr_delay_mult
        deformation_lr_max_steps offsets_lr feature_lr_div_factor omega_lr trbfc_lr trbfs_lr movelr trbfslinit
        preprocesspoints addsphpointsscale raystart grid_lr_init grid_lr_final""",
}

RETIRED: dict[str, str] = {name: reason for reason, names in _NAMES.items() for name in names.split()} | {
    "debug_from": "use --debug, which shows tracebacks",
    "checkpoint_iterations": "every save of --save_iterations can be continued with --resume",
    "start_checkpoint": "use --resume, which continues the newest save of --save_path",
    "fourd_ckpt_path": "its expert is in no ensemble; leave it out",
    "images": "frames are found by the layout of --source_path; leave it out",
    "data_device": "use --device",
    "eval": "held-out cameras are always kept apart; --test_cameras says which",
    "lazy_loader": "frames are always read when they are needed; --cache_mb bounds the memory",
    "exp_name": "the output's name is --save_path",
}
