//! What is found by a bundle's id, or by how it starts: ids are hashes, so their first bits say at once where to look,
//! and a look-up costs the same however many there are. In order of ids all the same, which a hash table would not be.

use crate::id::BundleId;

/// Entries that a bucket has on average before there are twice as many buckets.
const FULL: usize = 4;

/// See the module's text. It remembers how to go back, as [`super::table::Table`] does.
#[derive(Debug, Clone)]
pub(super) struct ById<V> {
    /// One for each value of an id's first `bits` bits, each in order of ids.
    buckets: Vec<Vec<(BundleId, V)>>,
    bits: u32,
    len: usize,
    /// What to put back, newest last.
    undo: Vec<(BundleId, Option<V>)>,
}

impl<V> Default for ById<V> {
    fn default() -> Self {
        Self { buckets: vec![Vec::new()], bits: 0, len: 0, undo: Vec::new() }
    }
}

impl<V: Clone> ById<V> {
    pub(super) fn get(&self, id: &BundleId) -> Option<&V> {
        let bucket = &self.buckets[self.bucket_of(id)];
        place(bucket, id).ok().map(|at| &bucket[at].1)
    }

    pub(super) fn contains(&self, id: &BundleId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = (&BundleId, &V)> {
        self.buckets.iter().flatten().map(|(id, value)| (id, value))
    }

    /// Those whose ids start like this, by id.
    pub(super) fn like<'s>(&'s self, start: &'s [u8]) -> impl Iterator<Item = (&'s BundleId, &'s V)> {
        let mut ends = [[0; BundleId::BYTES], [u8::MAX; BundleId::BYTES]];
        ends.iter_mut().for_each(|end| end[..start.len()].copy_from_slice(start));
        let [first, last] = ends.map(|end| self.bucket_of(&BundleId(end)));
        let near = self.buckets[first..=last].iter().flatten().map(|(id, value)| (id, value));
        near.filter(move |(id, _)| id.0.starts_with(start))
    }

    pub(super) fn put(&mut self, id: BundleId, value: V) {
        let before = self.set(id, value);
        self.undo.push((id, before));
    }

    pub(super) fn remove(&mut self, id: &BundleId) -> Option<V> {
        let before = self.unset(id)?;
        self.undo.push((*id, Some(before.clone())));
        Some(before)
    }

    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    pub(super) fn rollback(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            match before {
                Some(value) => self.set(id, value),
                None => self.unset(&id),
            };
        }
    }

    fn set(&mut self, id: BundleId, value: V) -> Option<V> {
        if self.len >= self.buckets.len() * FULL {
            self.spread();
        }
        let at = self.bucket_of(&id);
        let bucket = &mut self.buckets[at];
        match place(bucket, &id) {
            Ok(at) => Some(std::mem::replace(&mut bucket[at].1, value)),
            Err(at) => {
                bucket.insert(at, (id, value));
                self.len += 1;
                None
            }
        }
    }

    fn unset(&mut self, id: &BundleId) -> Option<V> {
        let at = self.bucket_of(id);
        let bucket = &mut self.buckets[at];
        let at = place(bucket, id).ok()?;
        self.len -= 1;
        Some(bucket.remove(at).1)
    }

    fn bucket_of(&self, id: &BundleId) -> usize {
        let [a, b, c, d, ..] = id.0;
        u32::from_be_bytes([a, b, c, d]).checked_shr(u32::BITS - self.bits).unwrap_or(0) as usize
    }

    /// Twice as many buckets: each becomes two, by the next bit of the ids.
    fn spread(&mut self) {
        self.bits += 1;
        let before = std::mem::take(&mut self.buckets);
        self.buckets = Vec::with_capacity(before.len() * 2);
        for (n, mut bucket) in before.into_iter().enumerate() {
            let upper = bucket.partition_point(|(id, _)| self.bucket_of(id) == n * 2);
            let upper = bucket.split_off(upper);
            bucket.shrink_to_fit();
            self.buckets.extend([bucket, upper]);
        }
    }
}

/// Where an id is in a bucket, or where it would be.
fn place<V>(bucket: &[(BundleId, V)], id: &BundleId) -> Result<usize, usize> {
    bucket.binary_search_by(|(other, _)| other.cmp(id))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn id(n: u64) -> BundleId {
        BundleId(*blake3::hash(&n.to_be_bytes()).as_bytes())
    }

    #[test]
    fn it_holds_what_an_ordered_map_holds_in_the_same_order() {
        let (mut found, mut model) = (ById::default(), BTreeMap::new());
        for n in 0..3_000 {
            found.put(id(n % 700), n);
            model.insert(id(n % 700), n);
            if n % 3 == 0 {
                assert_eq!(found.remove(&id(n % 500)), model.remove(&id(n % 500)));
            }
        }
        assert!(found.all().eq(model.iter()) && found.len() == model.len());
        for n in 0..700 {
            assert_eq!(found.get(&id(n)), model.get(&id(n)));
            for bytes in [0, 1, 2, 5, BundleId::BYTES] {
                let of = id(n);
                let alike = model.iter().filter(|(other, _)| other.0.starts_with(&of.0[..bytes]));
                assert!(found.like(&of.0[..bytes]).eq(alike), "{n}, {bytes} bytes");
            }
        }
        assert!(found.buckets.iter().all(|bucket| bucket.len() < 8 * FULL), "hashes spread");
    }

    #[test]
    fn a_rollback_brings_back_what_was_there_also_over_a_doubling() {
        let mut found = ById::default();
        (0..100).for_each(|n| found.put(id(n), n));
        found.commit();
        let before: Vec<(BundleId, u64)> = found.all().map(|(id, n)| (*id, *n)).collect();
        (50..2_000).for_each(|n| found.put(id(n), n + 1));
        (0..2_000).step_by(3).for_each(|n| {
            found.remove(&id(n));
        });
        found.rollback();
        assert!(found.all().map(|(id, n)| (*id, *n)).eq(before) && found.len() == 100);
    }
}
