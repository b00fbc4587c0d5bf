output "bucket" {
  description = "Name and ARN of the bucket."
  value       = { name = aws_s3_bucket.main.bucket, arn = aws_s3_bucket.main.arn }
}

output "kms_key_arn" {
  description = "The pool's key."
  value       = aws_kms_key.main.arn
}
