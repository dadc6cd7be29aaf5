output "store_uri" {
  description = "For store.uri of a study, with a name of the study's own behind it."
  value       = "s3://${aws_s3_bucket.this.id}/${var.store_prefix}"
}

output "pod_role_arn" {
  description = "For cluster/kubernetes/components/aws-identity; null without oidc_provider_arn."
  value       = one(aws_iam_role.pods[*].arn)
}

output "head_instance_profile" {
  description = "For cluster/ray-up/aws.yaml, the head."
  value       = aws_iam_instance_profile.head.name
}

output "worker_instance_profile" {
  description = "For cluster/ray-up/aws.yaml, the workers."
  value       = aws_iam_instance_profile.worker.name
}

output "artifact_uri" {
  description = "MLFLOW_ARTIFACTS_DESTINATION of the MLflow server."
  value       = "s3://${aws_s3_bucket.this.id}/${var.artifact_prefix}"
}

output "database_secret_arn" {
  description = "Secret with MLFLOW_BACKEND_STORE_URI of the MLflow server."
  value       = aws_secretsmanager_secret.database.arn
}

output "mlflow_policy_arn" {
  description = "Policy for whatever runs the MLflow server."
  value       = aws_iam_policy.mlflow.arn
}
