//! Rates that leave too little room below the quota for a failing store; pure.

use super::{allowance::Allowance, category::QuotaCategory};
use crate::config::BudgetSettings;

/// Returns a warning for each rate whose worst case exceeds Cognito's default quota.
///
/// That is the key of the setting, and why it is unwise. `replicas_at_most` replicas share the rates.
pub fn rates_beyond_quota(settings: &BudgetSettings, replicas_at_most: usize) -> Vec<(String, String)> {
    let table = [
        (QuotaCategory::UserReads, settings.user_reads_per_second, "user_reads_per_second"),
        (QuotaCategory::Lists, settings.lists_per_second, "lists_per_second"),
        (QuotaCategory::GroupReads, settings.group_reads_per_second, "group_reads_per_second"),
    ];
    let beyond = table.into_iter().filter_map(|(category, rate, name)| {
        let mut allowance = Allowance::new(category, rate);
        allowance.share(replicas_at_most);
        let worst = allowance.worst_case().filter(|worst| worst.exceeds_quota())?;
        let key = match rate {
            Some(_) => format!("budget.{name}"),
            None => "shared_cache.replicas_at_most".to_owned(),
        };
        let message = format!(
            "{key} lets all replicas together exceed Cognito's default quota of {} {} calls a second while the \
             shared cache fails: {worst}. Lower it, unless the account's quota is higher",
            worst.quota,
            category.as_str(),
        );
        Some((key, message))
    });
    beyond.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(rate: Option<usize>, replicas: usize) -> Vec<(String, String)> {
        let settings = BudgetSettings { user_reads_per_second: rate, ..BudgetSettings::default() };
        rates_beyond_quota(&settings, replicas)
    }

    #[test]
    fn four_fifths_of_the_quota_leave_room_for_the_allowances_of_all_replicas() {
        for (rate, replicas, is_beyond) in [
            (None, 1, false),
            (None, 8, false),
            (Some(96), 8, false),
            (Some(96), 24, false),
            // At least one call a second each.
            (Some(96), 25, true),
            (Some(97), 8, true),
            (Some(120), 1, true),
        ] {
            let found = beyond(rate, replicas).into_iter().any(|(_, text)| text.contains("UserRead calls"));
            assert_eq!(found, is_beyond, "{rate:?} of {replicas} replicas");
        }
    }

    #[test]
    fn the_warning_names_the_setting_and_the_sum() {
        let [(key, message)] = &beyond(Some(110), 8)[..] else { panic!() };
        assert_eq!(key, "budget.user_reads_per_second");
        assert!(message.contains("110 of those that reach the shared cache and 3 of each of 8"), "{message}");
        assert!(message.contains("are 134"), "{message}");
        // No rate is set, and each replica has at least one call a second.
        let keys: Vec<_> = beyond(None, 200).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["shared_cache.replicas_at_most"; 3]);
    }
}
