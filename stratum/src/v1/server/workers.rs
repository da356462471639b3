//! Who is authorized on one connection: mostly one, so a list that is no longer than it must be.

use super::WorkerKey;

/// User names with the pool's numbers for them, each name once.
#[derive(Debug, Default)]
pub(super) struct Workers(Box<[(Box<str>, WorkerKey)]>);

impl Workers {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, user: &str) -> Option<WorkerKey> {
        self.0.iter().find(|(name, _)| **name == *user).map(|(_, key)| *key)
    }

    pub(super) fn contains_key(&self, user: &str) -> bool {
        self.get(user).is_some()
    }

    /// Anybody, where there is somebody.
    pub(super) fn first(&self) -> Option<WorkerKey> {
        self.0.first().map(|(_, key)| *key)
    }

    /// Adds a name, or gives it another number.
    pub(super) fn insert(&mut self, user: Box<str>, key: WorkerKey) {
        if let Some((_, known)) = self.0.iter_mut().find(|(name, _)| *name == user) {
            *known = key;
        } else {
            let mut all = std::mem::take(&mut self.0).into_vec();
            all.reserve_exact(1);
            all.push((user, key));
            self.0 = all.into();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, WorkerKey)> {
        self.0.iter().map(|(user, key)| (user.as_ref(), *key))
    }
}

impl FromIterator<(Box<str>, WorkerKey)> for Workers {
    fn from_iter<I: IntoIterator<Item = (Box<str>, WorkerKey)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}
