variable "region" {
  description = "Where bucket, database and clusters are; traffic between regions is slow and paid for."
  type        = string
}

variable "name" {
  description = "Prefix of everything that is made here."
  type        = string
  default     = "overlap"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "The name is 2 to 21 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "bucket" {
  description = "Name of the bucket for the store and MLflow's artifacts; names of buckets are global."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "store_prefix" {
  description = "What store.uri of the studies has behind the bucket: s3://BUCKET/PREFIX."
  type        = string
  default     = "overlap"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.store_prefix))
    error_message = "The prefix has no slash at its ends and is not empty."
  }
}

variable "artifact_prefix" {
  description = "Where MLflow keeps artifacts, in the same bucket."
  type        = string
  default     = "mlflow"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.artifact_prefix))
    error_message = "The prefix has no slash at its ends and is not empty."
  }
}

variable "read_buckets" {
  description = "Buckets with shards and checkpoints; they are read, and nothing is written there."
  type        = list(string)
  default     = []
}

variable "oidc_provider_arn" {
  description = "OIDC provider of the EKS cluster whose pods take on the role; null without Kubernetes."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/", var.oidc_provider_arn))
    error_message = "That is no ARN of an IAM OIDC provider."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the pods, as in cluster/kubernetes/site."
  type        = string
  default     = "overlap"
}

variable "service_accounts" {
  description = "Service accounts that take on the role, as in cluster/kubernetes."
  type        = list(string)
  default     = ["overlap-head", "overlap-worker", "overlap-schedule"]
}

variable "vpc_id" {
  description = "Network of the database."
  type        = string
}

variable "database_subnet_ids" {
  description = "Private subnets for the database, in two availability zones at least."
  type        = list(string)

  validation {
    condition     = length(var.database_subnet_ids) >= 2
    error_message = "RDS wants subnets in two availability zones."
  }
}

variable "database_client_security_group_ids" {
  description = "Security groups of what runs the MLflow server; nobody else reaches the database."
  type        = list(string)
}

variable "database_class" {
  description = "Instance class of MLflow's database; runs of studies are few and small."
  type        = string
  default     = "db.t4g.small"
}
