# What a node or pod may do: read shards and checkpoints, and read and write under the store's prefix. It cannot list or
# write anything else, and makes no buckets, users or keys.
data "aws_iam_policy_document" "store" {
  statement {
    sid       = "ListStore"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [var.store_prefix, "${var.store_prefix}/*"]
    }
  }

  statement {
    sid = "UseStore"
    # A put that must not overwrite (If-None-Match) needs no action of its own. Deleting is for `overlap gc`; aborting, for
    # uploads that failed.
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/${var.store_prefix}/*"]
  }

  dynamic "statement" {
    for_each = length(var.read_buckets) > 0 ? [1] : []

    content {
      sid       = "ListInputs"
      actions   = ["s3:ListBucket"]
      resources = [for name in var.read_buckets : "arn:${data.aws_partition.current.partition}:s3:::${name}"]
    }
  }

  dynamic "statement" {
    for_each = length(var.read_buckets) > 0 ? [1] : []

    content {
      sid       = "ReadInputs"
      actions   = ["s3:GetObject"]
      resources = [for name in var.read_buckets : "arn:${data.aws_partition.current.partition}:s3:::${name}/*"]
    }
  }
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

resource "aws_iam_policy" "store" {
  name   = "${var.name}-store"
  policy = data.aws_iam_policy_document.store.json
}

# Pods: each of the named service accounts of one namespace of one cluster, and no other.
data "aws_iam_policy_document" "pods" {
  count = var.oidc_provider_arn == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_issuer}:sub"
      values   = [for account in var.service_accounts : "system:serviceaccount:${var.namespace}:${account}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

locals {
  oidc_issuer = var.oidc_provider_arn == null ? "" : replace(var.oidc_provider_arn, "/^.*:oidc-provider\\//", "")
}

resource "aws_iam_role" "pods" {
  count = var.oidc_provider_arn == null ? 0 : 1

  name                 = "${var.name}-pods"
  assume_role_policy   = data.aws_iam_policy_document.pods[0].json
  max_session_duration = 43200 # credentials renew by themselves; long ones renew less often
}

resource "aws_iam_role_policy_attachment" "pods" {
  count = var.oidc_provider_arn == null ? 0 : 1

  role       = aws_iam_role.pods[0].name
  policy_arn = aws_iam_policy.store.arn
}
