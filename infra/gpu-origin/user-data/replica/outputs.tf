output "user_data" {
  description = "The cloud-init document as text."
  value       = local.user_data
}

output "user_data_base64" {
  description = "The same, compressed and encoded: EC2 takes 16 KiB."
  value       = base64gzip(local.user_data)

  precondition {
    # Four characters of base64 are three bytes.
    condition     = length(base64gzip(local.user_data)) * 3 / 4 <= 16384
    error_message = "User data is larger than EC2's 16 KiB."
  }
}

output "vllm_arguments" {
  description = "Arguments of `vllm serve`."
  value       = local.vllm_arguments
}
