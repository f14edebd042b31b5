# Sourced by worker.sh: flags of XLA by platform. The list is short on purpose: what the compiler does by itself is left
# to it, and a flag that a later version drops ends the process at its start.
# usage: source launch/xla_flags.sh; export_xla_flags gpu|tpu|cpu
#
# What the user has set in XLA_FLAGS or LIBTPU_INIT_ARGS stays and wins: a flag that is there already is not added.
# No gain of these flags was measured here. Checked instead: the names are known to jaxlib 0.10.2 and 0.12.0.1, and to
# the libtpu of the same releases (0.0.42, 0.0.50).

export_xla_flags() {
  case $1 in
    gpu)
      # Off by default. Starts the all-reduce of a layer's gradients as soon as they are there and lets the backward
      # pass go on meanwhile; it matters with several GPUs only. It can take more memory, most when the layers are not
      # scanned: on running out of it, set --xla_gpu_enable_latency_hiding_scheduler=false. Not measured here.
      add_flag XLA_FLAGS --xla_gpu_enable_latency_hiding_scheduler=true
      ;;
    tpu)
      # The same aim on a TPU: gradients are summed by an all-reduce, these make it asynchronous and fuse it with the
      # computation beside it (MaxText's flags for data parallelism within a slice). Not measured here.
      add_flag LIBTPU_INIT_ARGS --xla_enable_async_all_reduce=true
      add_flag LIBTPU_INIT_ARGS --xla_tpu_enable_async_collective_fusion_fuse_all_reduce=true
      ;;
    cpu) ;;  # none: no reason is known for one
    *)
      echo "error: no flags are known for the platform '$1'; expected gpu, tpu or cpu" >&2
      return 2
      ;;
  esac
}

# add_flag VARIABLE --flag=value, unless the variable has that flag
add_flag() {
  local old=${!1:-}
  case " $old " in *" ${2%%=*}="* | *" ${2%%=*} "*) return 0 ;; esac
  export "$1=$old${old:+ }$2"
}
