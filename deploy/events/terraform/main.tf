# The queue from which cognito-lookup reads the changes that CloudTrail reports about user pools of this Region.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

locals {
  # Neither pattern names a pool, because calls of users themselves report none. The state of the rules is not
  # ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS, because that would match the service's own reads.
  patterns = {
    changes        = file("${path.module}/../rule.json")
    first-password = file("${path.module}/../first-password-rule.json")
  }
  alarm_actions = var.alarm_topic_arn == "" ? [] : [var.alarm_topic_arn]
}

resource "aws_sqs_queue" "events" {
  name = var.queue_name
  # After a day every change that the messages report has reached the cache by its TTL, and every token has expired.
  message_retention_seconds  = 86400
  visibility_timeout_seconds = 30
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 5
  })
}

# Gets what the service could not read, and what EventBridge could not deliver.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.queue_name}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

data "aws_iam_policy_document" "queue" {
  for_each = {
    events = aws_sqs_queue.events.arn
    dead   = aws_sqs_queue.dead.arn
  }

  statement {
    sid       = "RulesSend"
    actions   = ["sqs:SendMessage"]
    resources = [each.value]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.rule : rule.arn]
    }
  }

  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url
  policy    = data.aws_iam_policy_document.queue["events"].json
}

resource "aws_sqs_queue_policy" "dead" {
  queue_url = aws_sqs_queue.dead.url
  policy    = data.aws_iam_policy_document.queue["dead"].json
}

resource "aws_cloudwatch_event_rule" "rule" {
  for_each      = local.patterns
  name          = "${var.queue_name}-${each.key}"
  description   = "Changes of users in Amazon Cognito, for cognito-lookup"
  event_pattern = each.value
  state         = "ENABLED"
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each  = aws_cloudwatch_event_rule.rule
  rule      = each.value.name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn
  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
  # The service would not use an event that is older.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "ReceiveChangeEvents"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.events.arn]
  }

  dynamic "statement" {
    for_each = var.catch_up == "cloudtrail" ? [1] : []
    content {
      sid     = "LookUpChangeEvents"
      actions = ["cloudtrail:LookupEvents"]
      # This action cannot be limited to a resource.
      resources = ["*"]
    }
  }
}

resource "aws_iam_policy" "read" {
  name        = "${var.queue_name}-read"
  description = "Lets cognito-lookup read the changes of users"
  policy      = data.aws_iam_policy_document.read.json
}

resource "aws_iam_role_policy_attachment" "read" {
  count      = var.task_role_name == "" ? 0 : 1
  role       = var.task_role_name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_cloudwatch_metric_alarm" "queue_is_not_read" {
  alarm_name          = "${var.queue_name}-is-not-read"
  alarm_description   = "Changes of users wait in the queue: no replica of cognito-lookup reads it. Until then they reach the cache by its TTL only, and sign-outs do not reach it at all."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.events.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  threshold           = var.oldest_message_seconds
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "events_are_lost" {
  alarm_name          = "${var.queue_name}-are-lost"
  alarm_description   = "The dead-letter queue has messages. Those with the attribute ERROR_CODE come from EventBridge, which could not deliver them; the others from the queue, whose reader could not read them."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}
