variable "name" {
  description = "Prefix of every name that the module gives. Two modules in one account and region need two names."
  type        = string
  default     = "sluice"

  validation {
    # Bucket names add "-failures-", an account of 12 digits and a region, and end at 63 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "name: give 2 to 24 of a-z, 0-9 and hyphen, starting with a letter and not ending with a hyphen."
  }
}

variable "tags" {
  description = "Tags of every resource, beside `sluice = <name>` and `sluice-version`."
  type        = map(string)
  default     = {}
}

# ---------------------------------------------------------------- stream

variable "tables" {
  description = <<-EOT
    Existing DynamoDB tables to follow; the key is the table's name unless `name` says another. Each has one event
    source mapping with these options: `batch_size` in records, best about what fills one message (375 of 1.1 KB); `window_s`, longest wait for a batch to fill, in
    seconds; `parallelization`, batches of one shard at once; `retries` of a failed batch; `filters`, event filter
    patterns as JSON text, empty for every record; `starting_position`, TRIM_HORIZON (all that the stream still
    holds) or LATEST; `enabled`, false to pause.
  EOT
  type = map(object({
    name              = optional(string)
    batch_size        = optional(number, 375)
    window_s          = optional(number, 1)
    parallelization   = optional(number, 1)
    retries           = optional(number, 500)
    filters           = optional(list(string), [])
    starting_position = optional(string, "TRIM_HORIZON")
    enabled           = optional(bool, true)
  }))

  validation {
    condition     = length(var.tables) > 0
    error_message = "tables: name at least one table, for example { posts = {} }."
  }
  validation {
    condition     = alltrue([for t in var.tables : t.batch_size >= 1 && t.batch_size <= 10000])
    error_message = "tables: batch_size is a number of records from 1 to 10,000 (Lambda)."
  }
  validation {
    condition     = alltrue([for t in var.tables : t.window_s >= 0 && t.window_s <= 300])
    error_message = "tables: window_s is a number of seconds from 0 to 300 (Lambda)."
  }
  validation {
    condition     = alltrue([for t in var.tables : t.batch_size <= 10 || t.window_s >= 1])
    error_message = "tables: a batch_size over 10 needs a window_s of at least 1 (Lambda)."
  }
  validation {
    condition     = alltrue([for t in var.tables : t.parallelization >= 1 && t.parallelization <= 10])
    error_message = "tables: parallelization is a number from 1 to 10 (Lambda)."
  }
  validation {
    condition     = alltrue([for t in var.tables : t.retries >= 1 && t.retries <= 10000])
    error_message = "tables: retries is a number from 1 to 10,000. Without a cap one failing batch would hold up its shard until it expires."
  }
  validation {
    condition     = alltrue([for t in var.tables : alltrue([for f in t.filters : can(jsondecode(f))]) && length(t.filters) <= 5])
    error_message = "tables: filters are at most 5 patterns (Lambda), each as JSON text: use jsonencode()."
  }
  validation {
    condition     = alltrue([for t in var.tables : contains(["TRIM_HORIZON", "LATEST"], t.starting_position)])
    error_message = "tables: starting_position is TRIM_HORIZON or LATEST."
  }
}

variable "old_images" {
  description = "Whether old images travel too, for handlers that compare. Doubles the bytes; the streams must carry NEW_AND_OLD_IMAGES."
  type        = bool
  default     = false
}

# ---------------------------------------------------------------- producer

variable "producer_zip" {
  description = "Path of the zip that `make package` writes."
  type        = string

  validation {
    condition     = fileexists(var.producer_zip)
    error_message = "producer_zip: there is no such file. Run `make package` and give the path of dist/producer.zip."
  }
}

variable "producer" {
  description = <<-EOT
    The Lambda function: `memory_mb`; `timeout_s` of one invocation; `reserved_concurrency`, -1 for none;
    `message_bytes`, `batch_bytes` and `chunk_bytes`, see docs/configuration.md.
  EOT
  type = object({
    memory_mb            = optional(number, 512)
    timeout_s            = optional(number, 60)
    reserved_concurrency = optional(number, -1)
    message_bytes        = optional(number, 262144)
    batch_bytes          = optional(number, 1048576)
    chunk_bytes          = optional(number, 1048576)
  })
  default = {}

  validation {
    condition     = var.producer.memory_mb >= 256 && var.producer.memory_mb <= 10240
    error_message = "producer: memory_mb is a number from 256 to 10,240; a batch of 6 MB does not fit in less."
  }
  validation {
    condition     = var.producer.timeout_s >= 30 && var.producer.timeout_s <= 900
    error_message = "producer: timeout_s is a number of seconds from 30 to 900; in less time nothing could be tried again."
  }
  validation {
    condition     = var.producer.reserved_concurrency == -1 || var.producer.reserved_concurrency >= 1
    error_message = "producer: reserved_concurrency is -1 (none) or at least 1; 0 would stop the function while the stream runs out."
  }
  validation {
    condition     = var.producer.message_bytes >= 32768 && var.producer.message_bytes <= var.producer.batch_bytes && var.producer.batch_bytes <= 1048576
    error_message = "producer: 32768 <= message_bytes <= batch_bytes <= 1048576 must hold (SQS: 1 MiB for a batch)."
  }
  validation {
    condition     = var.producer.message_bytes <= 262144
    error_message = "producer: message_bytes is at most 262144; SQS takes 1 MiB, but version 5 of the AWS provider makes no queue that does."
  }
  validation {
    condition     = var.producer.chunk_bytes >= 32768 && var.producer.chunk_bytes <= 8388608
    error_message = "producer: chunk_bytes is a number from 32768 to 8388608."
  }
}

# ---------------------------------------------------------------- queue

variable "numbers" {
  description = <<-EOT
    The times that must agree with each other, in one place. `task_limit_s`: a chunk's process is stopped after this.
    `visibility_s`: a taken message stays hidden for this long without a sign of life. `receives`: tries of a message
    before SQS dead-letters it. `queue_days`, `dead_letter_days`: retention of messages. `overflow_days`: life of
    images in S3. `failure_days`: life of batches that Lambda gave up on. `record_age_s`: Lambda gives up on a stream
    record of this age. `drain_s`: time that work in hand has after SIGTERM. `horizon_days`, `clock_margin_s`: see
    docs/configuration.md. `log_days`: retention of logs.
  EOT
  type = object({
    task_limit_s     = optional(number, 300)
    visibility_s     = optional(number, 360)
    receives         = optional(number, 5)
    queue_days       = optional(number, 4)
    dead_letter_days = optional(number, 14)
    overflow_days    = optional(number, 60)
    failure_days     = optional(number, 90)
    record_age_s     = optional(number, 72000)
    drain_s          = optional(number, 90)
    horizon_days     = optional(number, 30)
    clock_margin_s   = optional(number, 60)
    log_days         = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.numbers.task_limit_s >= 10 && var.numbers.task_limit_s <= 40000
    error_message = "numbers: task_limit_s is a number of seconds from 10 to 40,000."
  }
  validation {
    condition     = var.numbers.visibility_s > var.numbers.task_limit_s && var.numbers.visibility_s <= 43200
    error_message = "numbers: visibility_s must be longer than task_limit_s, else a message is handed out twice while it is in work; at most 43,200 (SQS)."
  }
  validation {
    condition     = var.numbers.receives >= 3 && var.numbers.receives <= 1000
    error_message = "numbers: receives is a number from 3 to 1,000 (SQS); with fewer, two killed workers would dead-letter a good message."
  }
  validation {
    condition     = var.numbers.queue_days >= 1 && var.numbers.queue_days <= 14
    error_message = "numbers: queue_days is a number of days from 1 to 14 (SQS)."
  }
  validation {
    condition     = var.numbers.dead_letter_days > var.numbers.queue_days && var.numbers.dead_letter_days <= 14
    error_message = "numbers: dead_letter_days must be longer than queue_days, because a message that SQS moves keeps its age; at most 14 (SQS). Shorten queue_days."
  }
  validation {
    condition     = var.numbers.overflow_days >= 2 * (var.numbers.queue_days + var.numbers.dead_letter_days)
    error_message = "numbers: overflow_days must be at least 2 * (queue_days + dead_letter_days), else images die before a message that names them and was redriven once."
  }
  validation {
    condition     = var.numbers.failure_days >= 14
    error_message = "numbers: failure_days is at least 14: what Lambda gave up on is nowhere else."
  }
  validation {
    condition     = var.numbers.record_age_s >= 3600 && var.numbers.record_age_s <= 82800
    error_message = "numbers: record_age_s is a number of seconds from 3,600 to 82,800: Lambda must give up, and keep the record, before the stream's 24 hours do."
  }
  validation {
    # Fargate stops a container 120 s after SIGTERM at the latest.
    condition     = var.numbers.drain_s >= 10 && var.numbers.drain_s <= 105
    error_message = "numbers: drain_s is a number of seconds from 10 to 105: Fargate grants 120 s, of which 15 are needed to give messages back."
  }
  validation {
    condition     = var.numbers.horizon_days >= 1 && var.numbers.horizon_days <= 3650
    error_message = "numbers: horizon_days is a number of days from 1 to 3,650."
  }
  validation {
    condition     = var.numbers.horizon_days > var.numbers.queue_days
    error_message = "numbers: horizon_days must be longer than queue_days, else every message that waited would cost a read of the table."
  }
  validation {
    condition     = var.numbers.clock_margin_s >= 1 && var.numbers.clock_margin_s <= 3600
    error_message = "numbers: clock_margin_s is a number of seconds from 1 to 3,600."
  }
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.numbers.log_days)
    error_message = "numbers: log_days is a retention that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 or more."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete buckets and images that are not empty. For trials."
  type        = bool
  default     = false
}

# ---------------------------------------------------------------- worker

variable "tables_modules" {
  description = "SLUICE_TABLES: Python modules in the image, comma-separated, that declare the tables."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z_][A-Za-z0-9_.]*(,[A-Za-z_][A-Za-z0-9_.]*)*$", var.tables_modules))
    error_message = "tables_modules: give names of Python modules, comma-separated without blanks, for example \"tables\"."
  }
}

variable "image" {
  description = "The worker's image, pinned: a full reference with a tag or digest, or only the tag of an image in the module's own repository."
  type        = string

  validation {
    condition     = !strcontains(var.image, "/") || can(regex("^.+/[^/:@]+(:[^/:@]+|@sha256:.+|:[^/:@]+@sha256:.+)$", var.image))
    error_message = "image: a full reference needs its tag or digest, :1.0.0 or @sha256:…; without one it means `latest`."
  }
  validation {
    condition     = can(regex("^([^:@/ ]+(:[0-9]+)?/)?[^:@ ]+(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?$", var.image)) && !can(regex("(^|:)latest(@|$)", var.image))
    error_message = "image: name one image for good, by tag or digest; not `latest`, which a restart could turn into another one."
  }
}

variable "worker" {
  description = <<-EOT
    The worker service: `cpu` units and `memory_mb` of a task (Fargate's combinations); `concurrency`, processes of a
    task, each with at most one bulk in flight; `min_tasks`, `max_tasks`; `backlog_per_task`, messages, waiting and in
    work, that a task should have: more adds tasks; `burst_factor`, a backlog of this many times that adds them
    within a minute; `elasticsearch_timeout_s` of one request; `log_level`; `log_sample`, percent of chunks that
    get a log line of their own.
  EOT
  type = object({
    cpu                     = optional(number, 1024)
    memory_mb               = optional(number, 2048)
    concurrency             = optional(number, 4)
    min_tasks               = optional(number, 1)
    max_tasks               = optional(number, 4)
    backlog_per_task        = optional(number, 40)
    burst_factor            = optional(number, 5)
    elasticsearch_timeout_s = optional(number, 60)
    log_level               = optional(string, "INFO")
    log_sample              = optional(number, 100)
  })
  default = {}

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.worker.cpu)
    error_message = "worker: cpu is 256, 512, 1024, 2048, 4096, 8192 or 16384 (Fargate)."
  }
  validation {
    condition     = var.worker.concurrency >= 1 && var.worker.concurrency <= 256
    error_message = "worker: concurrency is a number of processes from 1 to 256."
  }
  validation {
    # A process of the worker holds Python, the clients, and a chunk in several forms.
    condition     = var.worker.memory_mb >= 512 + 256 * var.worker.concurrency
    error_message = "worker: memory_mb must be at least 512 + 256 for each process of `concurrency`."
  }
  validation {
    condition     = var.worker.min_tasks >= 1 && var.worker.min_tasks <= var.worker.max_tasks
    error_message = "worker: 1 <= min_tasks <= max_tasks must hold; with no task at all, backlog per task has no value and nothing would start one."
  }
  validation {
    condition     = var.worker.backlog_per_task >= 2 * var.worker.concurrency
    error_message = "worker: backlog_per_task must be at least 2 * concurrency: a busy task holds `concurrency` messages in work, and would always call for another one."
  }
  validation {
    condition     = var.worker.burst_factor >= 2
    error_message = "worker: burst_factor is at least 2."
  }
  validation {
    condition     = var.worker.elasticsearch_timeout_s < var.numbers.task_limit_s
    error_message = "worker: elasticsearch_timeout_s must be shorter than numbers.task_limit_s, else a task is killed while it waits for the cluster."
  }
  validation {
    condition     = var.worker.elasticsearch_timeout_s >= 1 && var.worker.elasticsearch_timeout_s <= 600
    error_message = "worker: elasticsearch_timeout_s is a number of seconds from 1 to 600."
  }
  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], var.worker.log_level)
    error_message = "worker: log_level is DEBUG, INFO, WARNING or ERROR."
  }
  validation {
    condition     = var.worker.log_sample >= 0 && var.worker.log_sample <= 100 && var.worker.log_sample == floor(var.worker.log_sample)
    error_message = "worker: log_sample is a whole percentage from 0 to 100."
  }
}

variable "valve" {
  description = "When refusals stop a worker: `refusals` within `window_s` seconds, if they are `rate` percent of all; tried again after `pause_s`. 0 refusals: never."
  type = object({
    refusals = optional(number, 100)
    rate     = optional(number, 50)
    window_s = optional(number, 60)
    pause_s  = optional(number, 60)
  })
  default = {}

  validation {
    condition     = var.valve.refusals >= 0 && var.valve.refusals <= 1000000
    error_message = "valve: refusals is a number from 0 to 1,000,000."
  }
  validation {
    condition     = var.valve.rate >= 1 && var.valve.rate <= 100
    error_message = "valve: rate is a percentage from 1 to 100."
  }
  validation {
    condition     = var.valve.window_s >= 1 && var.valve.window_s <= 3600 && var.valve.pause_s >= 1 && var.valve.pause_s <= 86400
    error_message = "valve: window_s is 1 to 3,600 seconds, pause_s 1 to 86,400."
  }
}

variable "purge" {
  description = <<-EOT
    When `sluice tombstones purge` runs: `schedule`, an expression of EventBridge Scheduler, in UTC, best once a day;
    `enabled`, false where you run it yourself.
  EOT
  type = object({
    schedule = optional(string, "cron(17 3 * * ? *)")
    enabled  = optional(bool, true)
  })
  default = {}

  validation {
    condition     = can(regex("^(cron\\([^ ()]+( [^ ()]+){5}\\)|rate\\([1-9][0-9]* (minute|hour|day)s?\\))$", var.purge.schedule))
    error_message = "purge: schedule is cron(…) with six fields, or rate(…), for example \"cron(17 3 * * ? *)\" or \"rate(1 day)\". To stop it, set enabled = false."
  }
}

variable "network" {
  description = <<-EOT
    Where the tasks run: `vpc_id`; `subnet_ids` that reach the cluster, SQS, S3, DynamoDB, ECR, Logs and Secrets Manager;
    `elasticsearch_port`, that of the secret's url, for the security group lets nothing else out; `assign_public_ip`, true in public subnets without NAT.
  EOT
  type = object({
    vpc_id             = string
    subnet_ids         = list(string)
    elasticsearch_port = optional(number, 443)
    assign_public_ip   = optional(bool, false)
  })

  validation {
    condition     = length(var.network.subnet_ids) > 0
    error_message = "network: give at least one subnet."
  }
}

# ---------------------------------------------------------------- search

variable "elasticsearch" {
  description = <<-EOT
    The cluster, which is yours: `secret`, name or ARN of an existing Secrets Manager secret, a JSON object with `url`
    and `api_key`; `private_ca`, true if the object also has `ca`, the PEM text of the authority that signed the cluster's
    certificate.
  EOT
  type = object({
    secret     = string
    private_ca = optional(bool, false)
  })

  validation {
    condition     = length(trimspace(var.elasticsearch.secret)) > 0
    error_message = "elasticsearch: name the secret that holds the cluster's url and api_key."
  }
}

# ---------------------------------------------------------------- alarms

variable "alarms" {
  description = <<-EOT
    `topics`: ARNs of SNS topics told of every alarm and its end. `runbook`: address of docs/runbook.md as your people reach it.
    `age_s`: longest that the oldest message may wait. `iterator_age_s`: longest that a stream record may wait.
    `worker_metrics`: whether to watch the worker's own metrics (docs/metrics.md). `lag_s`: for its 99th percentile of lag.
  EOT
  type = object({
    topics         = optional(list(string), [])
    runbook        = optional(string, "docs/runbook.md")
    age_s          = optional(number, 900)
    iterator_age_s = optional(number, 600)
    lag_s          = optional(number, 900)
    worker_metrics = optional(bool, true)
  })
  default = {}

  validation {
    condition     = var.alarms.age_s >= 60 && var.alarms.age_s < var.numbers.queue_days * 86400
    error_message = "alarms: age_s must be at least 60 and shorter than numbers.queue_days, else messages are gone before anybody is told."
  }
  validation {
    condition     = var.alarms.iterator_age_s >= 60 && var.alarms.iterator_age_s < var.numbers.record_age_s
    error_message = "alarms: iterator_age_s must be at least 60 and shorter than numbers.record_age_s, else Lambda gives up before anybody is told."
  }
}

# ---------------------------------------------------------------- operator

variable "operator_principals" {
  description = "ARNs of the roles or users that may take on the operator's role. Empty: whoever this account's own policies let."
  type        = list(string)
  default     = []
}
