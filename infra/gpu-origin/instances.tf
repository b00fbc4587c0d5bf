# GPU instance types that a pool may use. Kept by hand, since no tool knows a misspelt type before an apply.
# GPUs: A10G (g5), L4 (g6), L40S (g6e), H100 (p5). All have local NVMe, which the weights are put on.
locals {
  instance_catalogue = {
    "g5.xlarge"    = { gpus = 1, gpu_memory_gib = 24 }
    "g5.2xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g5.4xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g5.8xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g5.12xlarge"  = { gpus = 4, gpu_memory_gib = 24 }
    "g5.24xlarge"  = { gpus = 4, gpu_memory_gib = 24 }
    "g5.48xlarge"  = { gpus = 8, gpu_memory_gib = 24 }
    "g6.xlarge"    = { gpus = 1, gpu_memory_gib = 24 }
    "g6.2xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g6.4xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g6.8xlarge"   = { gpus = 1, gpu_memory_gib = 24 }
    "g6.12xlarge"  = { gpus = 4, gpu_memory_gib = 24 }
    "g6.24xlarge"  = { gpus = 4, gpu_memory_gib = 24 }
    "g6.48xlarge"  = { gpus = 8, gpu_memory_gib = 24 }
    "g6e.xlarge"   = { gpus = 1, gpu_memory_gib = 48 }
    "g6e.2xlarge"  = { gpus = 1, gpu_memory_gib = 48 }
    "g6e.4xlarge"  = { gpus = 1, gpu_memory_gib = 48 }
    "g6e.8xlarge"  = { gpus = 1, gpu_memory_gib = 48 }
    "g6e.12xlarge" = { gpus = 4, gpu_memory_gib = 48 }
    "g6e.24xlarge" = { gpus = 4, gpu_memory_gib = 48 }
    "g6e.48xlarge" = { gpus = 8, gpu_memory_gib = 48 }
    "p5.4xlarge"   = { gpus = 1, gpu_memory_gib = 80 }
    "p5.48xlarge"  = { gpus = 8, gpu_memory_gib = 80 }
  }
}
