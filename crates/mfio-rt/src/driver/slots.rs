//! Slots whose keys outlive them: a key that was used before names nothing, not the next tenant.

/// What a key's upper half may count to. Two bits are left to whoever hands the keys on.
const GENERATIONS: u32 = 1 << 30;

/// A table of values with keys that are never valid twice (until a slot was used 2^30 times).
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// How many values are inside.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts `value` in and says under which key. Keys use the lower 62 bits. A full table (2^32
    /// values) gives the value back.
    pub(crate) fn insert(&mut self, value: T) -> Result<u64, T> {
        if let Some(index) = self.free.pop() {
            // `free` names slots of `slots` only: see `remove`.
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.value = Some(value);
                return Ok(key(index, slot.generation));
            }
        }
        let Ok(index) = u32::try_from(self.slots.len()) else {
            return Err(value);
        };
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Ok(key(index, 0))
    }

    /// The value under `key`, if it is still there.
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let (index, generation) = parts(key)?;
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == generation)
    }

    /// As [`get`](Self::get), to change it.
    #[allow(dead_code, reason = "what waits for readiness changes; not every system has that")]
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (index, generation) = parts(key)?;
        let slot = self.slots.get_mut(index as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == generation)
    }

    /// Takes the value under `key` out, if it is still there.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let (index, generation) = parts(key)?;
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (generation + 1) % GENERATIONS;
        self.free.push(index);
        Some(value)
    }

    /// Takes out all values that are `wanted`.
    pub(crate) fn remove_where(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        if self.len() == 0 {
            // A burst leaves many empty slots behind.
            return removed;
        }
        for (slot, index) in self.slots.iter_mut().zip(0..) {
            if let Some(value) = slot.value.take_if(|value| wanted(value)) {
                slot.generation = (slot.generation + 1) % GENERATIONS;
                self.free.push(index);
                removed.push(value);
            }
        }
        removed
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let Self { slots, free } = self;
        free.clear();
        let values = slots.iter_mut().zip(0..).filter_map(|(slot, index)| {
            free.push(index);
            let value = slot.value.take()?;
            slot.generation = (slot.generation + 1) % GENERATIONS;
            Some(value)
        });
        values.collect()
    }
}

fn key(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

fn parts(key: u64) -> Option<(u32, u32)> {
    let index = u32::try_from(key & u64::from(u32::MAX)).ok()?;
    let generation = u32::try_from(key >> 32).ok()?;
    Some((index, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_own_tenant_only() {
        let mut slots = Slots::new();
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.remove(u64::MAX), None);
        assert_eq!(slots.drain(), ['b']);
        assert_eq!(slots.len(), 0);
        let third = slots.insert('c').unwrap();
        assert!(third != first && third != second);
    }
}
