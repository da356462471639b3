//! Whether miners can be served: what `/readyz` says. Plain code over what is known of the node.
//!
//! A template is kept while the node fails, and mining on it is right for a moment; a pool that
//! sells work on yesterday's tip is not ready. It deliberately does not ask the node anything.

use std::time::Duration;

use units::Moment;

use crate::node::NodeStatus;

/// A node may fail this long: it is restarted, or answers slowly, and nobody need know.
const FAILING_MAX: Duration = Duration::from_secs(30);

/// Why work cannot be given out at `now`, or `None` when it can, by the node's `status` and the
/// arrival of the newest template, which may be `max_age` old.
pub(super) fn not_ready(
    status: &NodeStatus,
    template_at: Option<Moment>,
    max_age: Duration,
    now: Moment,
) -> Option<String> {
    let since = |moment: Moment| now.mono.saturating_sub(moment.mono);
    let failing = match status {
        NodeStatus::Failing { reason, since: start, .. } => Some((reason, since(*start))),
        NodeStatus::Starting | NodeStatus::Working => None,
    };
    let Some(template_at) = template_at else {
        return Some(failing.map_or("no template yet", |(reason, _)| reason).to_owned());
    };
    if let Some((reason, time)) = failing.filter(|(_, time)| *time > FAILING_MAX) {
        return Some(format!("for {} s now: {reason}", time.as_secs()));
    }
    let age = since(template_at);
    (age > max_age).then(|| {
        let most = max_age.as_secs();
        format!("the newest template is {} s old; more than {most} s is too old", age.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use units::UnixMillis;

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(90);

    const fn at(seconds: u64) -> Moment {
        Moment { mono: Duration::from_secs(seconds), unix: UnixMillis::new(0) }
    }

    fn failing(since: u64) -> NodeStatus {
        let reason = "node: connection refused".to_owned();
        NodeStatus::Failing { reason, attempts: 3, since: at(since) }
    }

    #[test]
    fn without_a_template_nothing_is_ready() {
        let why = |status| not_ready(&status, None, MAX_AGE, at(1));
        assert_eq!(why(NodeStatus::Starting).as_deref(), Some("no template yet"));
        assert_eq!(why(NodeStatus::Working).as_deref(), Some("no template yet"));
        assert_eq!(why(failing(1)).as_deref(), Some("node: connection refused"));
    }

    #[test]
    fn a_node_that_fails_is_borne_with_for_half_a_minute() {
        let why = |now| not_ready(&failing(100), Some(at(95)), MAX_AGE, at(now));
        assert_eq!(why(100), None);
        assert_eq!(why(130), None);
        assert_eq!(why(131).as_deref(), Some("for 31 s now: node: connection refused"));
    }

    #[test]
    fn an_old_template_is_not_ready_whatever_the_node_says() {
        let why = |status: &NodeStatus, now| not_ready(status, Some(at(100)), MAX_AGE, at(now));
        assert_eq!(why(&NodeStatus::Working, 190), None);
        let old = "the newest template is 91 s old; more than 90 s is too old";
        assert_eq!(why(&NodeStatus::Working, 191).as_deref(), Some(old));
        assert_eq!(why(&failing(180), 191).as_deref(), Some(old));
    }
}
