# the models of the cache with 20,000 more fault schedules of one replica, and as many of several, and three
# real replicas under faults in random turns for MINUTES (30 by default); it prints their report

# Optimized: 20,000 schedules of replicas would take two hours otherwise.
MODEL_SEEDS=${MODEL_SEEDS:-1000..21000} cargo test --locked --profile count --lib users::model
install_stores
SOAK_MINUTES=${number[soak]:-30} cargo test --locked --profile count --test integration -- --ignored --nocapture --exact \
  replicas::soak::three_replicas_keep_every_promise_whatever_fails
