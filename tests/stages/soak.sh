# the cache model with 20,000 more fault schedules

MODEL_SEEDS=${MODEL_SEEDS:-1000..21000} cargo test --locked --lib users::model
