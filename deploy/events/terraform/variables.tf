variable "queue_name" {
  description = "The name of the queue; the dead-letter queue has the same name with -dead."
  type        = string
  default     = "cognito-lookup-events"
}

variable "task_role_name" {
  description = "The role of the service, which gets the permission to read the queue; empty if you attach the policy yourself."
  type        = string
  default     = ""
}

variable "catch_up" {
  description = "The value of events.catch_up; with cloudtrail, the role may look up the events of the account's last 90 days."
  type        = string
  default     = "off"
  validation {
    condition     = contains(["off", "cloudtrail"], var.catch_up)
    error_message = "Set off or cloudtrail."
  }
}

variable "alarm_topic_arn" {
  description = "The SNS topic that the alarms notify; empty for none."
  type        = string
  default     = ""
}

variable "oldest_message_seconds" {
  description = "The age of the oldest message, in seconds, from which nobody seems to read the queue."
  type        = number
  default     = 300
}
