# For `ray up`: workers may use the store; the head may besides start and end workers, and nothing that is not tagged as its
# cluster's. Without `ray up` these two roles do no harm and cost nothing.
data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "worker" {
  name               = "${var.name}-ray-worker"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
}

resource "aws_iam_role" "head" {
  name               = "${var.name}-ray-head"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
}

resource "aws_iam_role_policy_attachment" "worker_store" {
  role       = aws_iam_role.worker.name
  policy_arn = aws_iam_policy.store.arn
}

resource "aws_iam_role_policy_attachment" "head_store" {
  role       = aws_iam_role.head.name
  policy_arn = aws_iam_policy.store.arn
}

resource "aws_iam_role_policy" "head_autoscaler" {
  name   = "autoscaler"
  role   = aws_iam_role.head.id
  policy = data.aws_iam_policy_document.autoscaler.json
}

data "aws_iam_policy_document" "autoscaler" {
  statement {
    sid       = "Look"
    actions   = ["ec2:Describe*"] # EC2 knows no narrower resource for these
    resources = ["*"]
  }

  statement {
    sid       = "StartWorkers"
    actions   = ["ec2:RunInstances", "ec2:CreateTags"]
    resources = ["arn:${data.aws_partition.current.partition}:ec2:${var.region}:*:*/*"]
  }

  statement {
    sid       = "EndWorkers"
    actions   = ["ec2:TerminateInstances", "ec2:StopInstances", "ec2:StartInstances"]
    resources = ["arn:${data.aws_partition.current.partition}:ec2:${var.region}:${data.aws_caller_identity.current.account_id}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:ResourceTag/ray-cluster-name"
      values   = [var.name]
    }
  }

  statement {
    sid       = "GiveWorkersTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.worker.arn]
  }

  statement {
    sid       = "FindTheirProfile"
    actions   = ["iam:GetInstanceProfile"]
    resources = [aws_iam_instance_profile.worker.arn]
  }
}

resource "aws_iam_instance_profile" "worker" {
  name = "${var.name}-ray-worker"
  role = aws_iam_role.worker.name
}

resource "aws_iam_instance_profile" "head" {
  name = "${var.name}-ray-head"
  role = aws_iam_role.head.name
}
