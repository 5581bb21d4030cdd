# the models of the cache with 20,000 more fault schedules of one replica, and as many of several

# Optimized: 20,000 schedules of replicas would take two hours otherwise.
MODEL_SEEDS=${MODEL_SEEDS:-1000..21000} cargo test --locked --profile count --lib users::model
