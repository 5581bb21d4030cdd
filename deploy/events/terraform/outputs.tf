output "queue_url" {
  description = "The value of events.queue_url."
  value       = aws_sqs_queue.events.url
}

output "queue_arn" {
  description = "For the policies of those who send messages of their own."
  value       = aws_sqs_queue.events.arn
}

output "dead_letter_queue_url" {
  description = "Where unreadable and undeliverable messages are."
  value       = aws_sqs_queue.dead.url
}

output "read_policy_arn" {
  description = "The policy that lets a role read the queue."
  value       = aws_iam_policy.read.arn
}
