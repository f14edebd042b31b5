# Sourced by worker.sh: XLA flags by platform. The list is short on purpose: the compiler's defaults are kept, and a
# flag that a later version removes would abort the process at its start.
# usage: source launch/xla_flags.sh; export_xla_flags gpu|tpu|cpu
#
# Flags that the user has set in XLA_FLAGS or LIBTPU_INIT_ARGS take precedence: a flag that is present is not added.
# The gain of these flags was not measured here; it was checked that jaxlib 0.10.2 and 0.12.0.1, and the libtpu of the
# same releases (0.0.42, 0.0.50), accept their names.

export_xla_flags() {
  case $1 in
    gpu)
      # Off by default. Starts the all-reduce of a layer's gradients as soon as they are computed, in parallel with the
      # backward pass; it only matters with several GPUs. It can need more memory, especially if the layers are not
      # scanned: if memory runs out, set --xla_gpu_enable_latency_hiding_scheduler=false. Not measured here.
      add_flag XLA_FLAGS --xla_gpu_enable_latency_hiding_scheduler=true
      ;;
    tpu)
      # The same aim on a TPU: the flags make the all-reduce of the gradients asynchronous and fuse it with adjacent
      # computation (MaxText's flags for data parallelism within a slice). Not measured here.
      add_flag LIBTPU_INIT_ARGS --xla_enable_async_all_reduce=true
      add_flag LIBTPU_INIT_ARGS --xla_tpu_enable_async_collective_fusion_fuse_all_reduce=true
      ;;
    cpu) ;;  # no flag is known to help
    *)
      echo "error: no flags are known for the platform '$1'; expected gpu, tpu or cpu" >&2
      return 2
      ;;
  esac
}

# add_flag VARIABLE --flag=value: prepend the flag unless the variable contains it.
add_flag() {
  local old=${!1:-}
  case " $old " in *" ${2%%=*}="* | *" ${2%%=*} "*) return 0 ;; esac
  export "$1=$old${old:+ }$2"
}
