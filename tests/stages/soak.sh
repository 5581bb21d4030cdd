# the model of the cache under 20,000 more schedules of faults

MODEL_SEEDS=${MODEL_SEEDS:-1000..21000} cargo test --locked --lib users::model
