# Every validation refuses, one run each, on the variables alone: no provider is needed, so it is fast.
# tests/infra/test_refusals.py takes each validation away and sees its run fail.

variables {
  # Any file will do where nothing is uploaded.
  producer_zip   = "variables.tf"
  tables         = { posts = {} }
  tables_modules = "examples.posts.tables"
  image          = "1"
  elasticsearch  = { secret = "search" }
  network        = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"] }
}

run "a_name_too_long_for_a_bucket" {
  command = plan
  variables {
    name = "a-name-of-more-than-24-letters"
  }
  expect_failures = [var.name]
}

run "no_table" {
  command = plan
  variables {
    tables = {}
  }
  expect_failures = [var.tables]
}

run "a_batch_of_none" {
  command = plan
  variables {
    tables = { posts = { batch_size = 0 } }
  }
  expect_failures = [var.tables]
}

run "a_window_over_five_minutes" {
  command = plan
  variables {
    tables = { posts = { window_s = 301 } }
  }
  expect_failures = [var.tables]
}

run "a_large_batch_without_a_window" {
  command = plan
  variables {
    tables = { posts = { batch_size = 11, window_s = 0 } }
  }
  expect_failures = [var.tables]
}

run "more_than_ten_batches_of_a_shard" {
  command = plan
  variables {
    tables = { posts = { parallelization = 11 } }
  }
  expect_failures = [var.tables]
}

run "retries_without_end" {
  command = plan
  variables {
    tables = { posts = { retries = -1 } }
  }
  expect_failures = [var.tables]
}

run "a_filter_that_is_no_json" {
  command = plan
  variables {
    tables = { posts = { filters = ["{"] } }
  }
  expect_failures = [var.tables]
}

run "a_position_that_streams_do_not_know" {
  command = plan
  variables {
    tables = { posts = { starting_position = "AT_TIMESTAMP" } }
  }
  expect_failures = [var.tables]
}

run "a_zip_that_is_not_there" {
  command = plan
  variables {
    producer_zip = "no-such.zip"
  }
  expect_failures = [var.producer_zip]
}

run "a_function_without_memory" {
  command = plan
  variables {
    producer = { memory_mb = 128 }
  }
  expect_failures = [var.producer]
}

run "a_function_without_time" {
  command = plan
  variables {
    producer = { timeout_s = 3 }
  }
  expect_failures = [var.producer]
}

run "a_function_that_may_not_run" {
  command = plan
  variables {
    producer = { reserved_concurrency = 0 }
  }
  expect_failures = [var.producer]
}

run "a_message_larger_than_its_batch" {
  command = plan
  variables {
    producer = { message_bytes = 262144, batch_bytes = 131072 }
  }
  expect_failures = [var.producer]
}

run "a_message_larger_than_the_provider_lets_a_queue_take" {
  command = plan
  variables {
    producer = { message_bytes = 262145 }
  }
  expect_failures = [var.producer]
}

run "a_chunk_too_large_to_inflate" {
  command = plan
  variables {
    producer = { chunk_bytes = 8388609 }
  }
  expect_failures = [var.producer]
}

run "a_task_limit_of_a_few_seconds" {
  command = plan
  variables {
    numbers = { task_limit_s = 9 }
    worker  = { elasticsearch_timeout_s = 1 }
  }
  expect_failures = [var.numbers]
}

run "visibility_not_longer_than_a_task" {
  command = plan
  variables {
    numbers = { task_limit_s = 300, visibility_s = 300 }
  }
  expect_failures = [var.numbers]
}

run "too_few_receives" {
  command = plan
  variables {
    numbers = { receives = 2 }
  }
  expect_failures = [var.numbers]
}

run "a_queue_that_keeps_longer_than_sqs" {
  command = plan
  variables {
    numbers = { queue_days = 15, dead_letter_days = 16, overflow_days = 99 }
  }
  expect_failures = [var.numbers]
}

run "a_queue_that_keeps_nothing" {
  command = plan
  variables {
    numbers = { queue_days = 0 }
  }
  expect_failures = [var.numbers]
}

run "dead_letters_that_die_with_messages" {
  command = plan
  variables {
    numbers = { queue_days = 7, dead_letter_days = 7 }
  }
  expect_failures = [var.numbers]
}

run "overflow_objects_that_die_before_messages" {
  command = plan
  variables {
    numbers = { overflow_days = 35 }
  }
  expect_failures = [var.numbers]
}

run "failures_kept_too_short" {
  command = plan
  variables {
    numbers = { failure_days = 7 }
  }
  expect_failures = [var.numbers]
}

run "a_record_age_of_the_whole_stream" {
  command = plan
  variables {
    numbers = { record_age_s = 86400 }
  }
  expect_failures = [var.numbers]
}

run "a_drain_longer_than_fargate_grants" {
  command = plan
  variables {
    numbers = { drain_s = 106 }
  }
  expect_failures = [var.numbers]
}

run "a_horizon_of_no_days" {
  command = plan
  variables {
    numbers = { horizon_days = 3651 }
  }
  expect_failures = [var.numbers]
}

run "a_horizon_within_the_queue" {
  command = plan
  variables {
    numbers = { horizon_days = 4 }
  }
  expect_failures = [var.numbers]
}

run "no_margin_for_clocks" {
  command = plan
  variables {
    numbers = { clock_margin_s = 0 }
  }
  expect_failures = [var.numbers]
}

run "a_log_retention_that_is_none" {
  command = plan
  variables {
    numbers = { log_days = 31 }
  }
  expect_failures = [var.numbers]
}

run "modules_with_blanks" {
  command = plan
  variables {
    tables_modules = "one, two"
  }
  expect_failures = [var.tables_modules]
}

run "an_image_called_latest" {
  command = plan
  variables {
    image = "registry.example.com/search:latest"
  }
  expect_failures = [var.image]
}

run "an_image_called_latest_by_digest" {
  command = plan
  variables {
    image = "registry.example.com/search:latest@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
  expect_failures = [var.image]
}

run "an_image_without_a_tag" {
  command = plan
  variables {
    image = "registry.example.com/search"
  }
  expect_failures = [var.image]
}

run "a_cpu_that_fargate_has_not" {
  command = plan
  variables {
    worker = { cpu = 1000 }
  }
  expect_failures = [var.worker]
}

run "no_process" {
  command = plan
  variables {
    worker = { concurrency = 0 }
  }
  expect_failures = [var.worker]
}

run "too_little_memory_for_the_processes" {
  command = plan
  variables {
    worker = { concurrency = 8, memory_mb = 2048 }
  }
  expect_failures = [var.worker]
}

run "no_task_at_all" {
  command = plan
  variables {
    worker = { min_tasks = 0 }
  }
  expect_failures = [var.worker]
}

run "fewer_tasks_at_most_than_at_least" {
  command = plan
  variables {
    worker = { min_tasks = 3, max_tasks = 2 }
  }
  expect_failures = [var.worker]
}

run "a_backlog_that_is_always_there" {
  command = plan
  variables {
    worker = { backlog_per_task = 4 }
  }
  expect_failures = [var.worker]
}

run "a_burst_that_is_none" {
  command = plan
  variables {
    worker = { burst_factor = 1 }
  }
  expect_failures = [var.worker]
}

run "a_request_longer_than_its_task" {
  command = plan
  variables {
    worker = { elasticsearch_timeout_s = 300 }
  }
  expect_failures = [var.worker]
}

run "a_request_longer_than_the_worker_takes" {
  command = plan
  variables {
    numbers = { task_limit_s = 1000, visibility_s = 1100 }
    worker  = { elasticsearch_timeout_s = 601 }
  }
  expect_failures = [var.worker]
}

run "a_log_level_that_is_none" {
  command = plan
  variables {
    worker = { log_level = "LOUD" }
  }
  expect_failures = [var.worker]
}

run "a_sample_of_more_than_all" {
  command = plan
  variables {
    worker = { log_sample = 101 }
  }
  expect_failures = [var.worker]
}

run "no_subnet" {
  command = plan
  variables {
    network = { vpc_id = "vpc-1", subnet_ids = [] }
  }
  expect_failures = [var.network]
}

run "no_secret" {
  command = plan
  variables {
    elasticsearch = { secret = " " }
  }
  expect_failures = [var.elasticsearch]
}

run "an_age_alarm_after_the_messages_are_gone" {
  command = plan
  variables {
    alarms = { age_s = 345600 }
  }
  expect_failures = [var.alarms]
}

run "an_iterator_alarm_after_lambda_gave_up" {
  command = plan
  variables {
    alarms = { iterator_age_s = 72000 }
  }
  expect_failures = [var.alarms]
}

run "a_valve_that_counts_backwards" {
  command = plan
  variables {
    valve = { refusals = -1 }
  }
  expect_failures = [var.valve]
}

run "a_valve_of_more_than_everything" {
  command = plan
  variables {
    valve = { rate = 101 }
  }
  expect_failures = [var.valve]
}

run "a_valve_without_a_window" {
  command = plan
  variables {
    valve = { window_s = 0 }
  }
  expect_failures = [var.valve]
}

run "a_schedule_of_no_known_form" {
  command = plan
  variables {
    purge = { schedule = "17 3 * * *" }
  }
  expect_failures = [var.purge]
}
