# MLflow's database. Studies come to no harm when it is down (`overlap sync` fills MLflow in), hence one zone.
resource "random_password" "database" {
  length  = 40
  special = false # it becomes part of a URI
}

resource "aws_secretsmanager_secret" "database" {
  name                    = "${var.name}/mlflow-database"
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id = aws_secretsmanager_secret.database.id
  # As MLflow wants it: postgresql+psycopg, since overlap's image has psycopg 3.
  secret_string = format(
    "postgresql+psycopg://%s:%s@%s/%s?sslmode=require",
    aws_db_instance.mlflow.username,
    random_password.database.result,
    aws_db_instance.mlflow.endpoint,
    aws_db_instance.mlflow.db_name,
  )
}

resource "aws_db_subnet_group" "mlflow" {
  name       = "${var.name}-mlflow"
  subnet_ids = var.database_subnet_ids
}

resource "aws_security_group" "database" {
  name        = "${var.name}-mlflow-database"
  description = "PostgreSQL from the MLflow server alone"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each = toset(var.database_client_security_group_ids)

  security_group_id            = aws_security_group.database.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  description                  = "MLflow server"
}

resource "aws_db_instance" "mlflow" {
  identifier     = "${var.name}-mlflow"
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.database_class

  db_name  = "mlflow"
  username = "mlflow"
  password = random_password.database.result

  allocated_storage     = 20
  max_allocated_storage = 100
  storage_encrypted     = true

  publicly_accessible    = false
  db_subnet_group_name   = aws_db_subnet_group.mlflow.name
  vpc_security_group_ids = [aws_security_group.database.id]

  backup_retention_period    = 7
  auto_minor_version_upgrade = true
  deletion_protection        = true
  skip_final_snapshot        = false
  final_snapshot_identifier  = "${var.name}-mlflow-final"
}

# The MLflow server's own right: its artifacts and nothing of the store. Attach it to whatever runs the server.
data "aws_iam_policy_document" "artifacts" {
  statement {
    sid       = "ListArtifacts"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [var.artifact_prefix, "${var.artifact_prefix}/*"]
    }
  }

  statement {
    sid       = "UseArtifacts"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/${var.artifact_prefix}/*"]
  }

  statement {
    sid       = "ReadDatabaseUri"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.database.arn]
  }
}

resource "aws_iam_policy" "mlflow" {
  name   = "${var.name}-mlflow"
  policy = data.aws_iam_policy_document.artifacts.json
}
