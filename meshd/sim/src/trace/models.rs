//! What the real nodes are compared with: flooding without any limit, which nothing can do better than, and three
//! textbook ways, all with unlimited bandwidth and perfect knowledge of what has arrived.

use std::collections::BTreeMap;

use crate::dice::Dice;

use super::contacts::Contacts;
use super::work::Letter;

/// A textbook way of forwarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Everything to everybody.
    Epidemic,
    /// Eight copies, half of them to each who has none (binary spray and wait, Spyropoulos et al. 2005).
    Spray,
    /// Only to the recipient itself.
    Direct,
}

/// What a way of forwarding achieved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Achieved {
    /// Seconds each letter that arrived took, shortest first.
    pub latencies_s: Vec<u64>,
    /// Copies handed over.
    pub copies: u64,
}

/// When each letter arrives if everybody gives everything to everybody at once.
pub fn flood(contacts: &Contacts, letters: &[Letter]) -> Achieved {
    let mut achieved = Achieved::default();
    for letter in letters {
        let mut holders = vec![false; contacts.people];
        holders[letter.from] = true;
        let later = contacts.steps.iter().filter(|(t, _)| *t >= letter.at_s);
        for (t, pairs) in later {
            while pairs.iter().any(|&(a, b)| {
                let spreads = holders[a] != holders[b];
                holders[a] |= spreads;
                holders[b] |= spreads;
                spreads
            }) {}
            if holders[letter.to] {
                achieved.latencies_s.push(t - letter.at_s);
                break;
            }
        }
    }
    achieved.latencies_s.sort_unstable();
    achieved
}

/// Runs a textbook way with room for `buffer` letters at each node; the oldest gives way.
pub fn run(
    contacts: &Contacts,
    letters: &[Letter],
    model: Model,
    buffer: usize,
    dice: &mut Dice,
) -> Achieved {
    let mut nodes = vec![Buffer::default(); contacts.people];
    let mut arrived = BTreeMap::new();
    let mut copies = 0;
    let mut next = 0;
    for (t, pairs) in &contacts.steps {
        while letters.get(next).is_some_and(|letter| letter.at_s <= *t) {
            nodes[letters[next].from].put(next, 8, buffer);
            next += 1;
        }
        let mut pairs = pairs.clone();
        dice.shuffle(&mut pairs);
        for (a, b) in pairs {
            for (from, to) in [(a, b), (b, a)] {
                for letter in nodes[from].letters() {
                    let Some(budget) = nodes[from].budget(letter) else { continue };
                    if arrived.contains_key(&letter) {
                        continue;
                    }
                    if letters[letter].to == to {
                        arrived.insert(letter, t - letters[letter].at_s);
                        copies += 1;
                    } else if nodes[to].budget(letter).is_none() {
                        let given = match model {
                            Model::Epidemic => 1,
                            Model::Spray => budget / 2,
                            Model::Direct => 0,
                        };
                        if given > 0 {
                            if model == Model::Spray {
                                nodes[from].set(letter, budget - given);
                            }
                            nodes[to].put(letter, given, buffer);
                            copies += 1;
                        }
                    }
                }
            }
        }
    }
    let mut latencies_s: Vec<u64> = arrived.into_values().collect();
    latencies_s.sort_unstable();
    Achieved { latencies_s, copies }
}

/// Letters in the order they came, each with the copies that may be given on.
#[derive(Debug, Clone, Default)]
struct Buffer {
    order: std::collections::VecDeque<usize>,
    budgets: BTreeMap<usize, u32>,
}

impl Buffer {
    fn put(&mut self, letter: usize, budget: u32, most: usize) {
        self.order.push_back(letter);
        self.budgets.insert(letter, budget);
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.budgets.remove(&oldest);
        }
    }

    fn letters(&self) -> Vec<usize> {
        self.order.iter().copied().collect()
    }

    fn budget(&self, letter: usize) -> Option<u32> {
        self.budgets.get(&letter).copied()
    }

    fn set(&mut self, letter: usize, budget: u32) {
        self.budgets.insert(letter, budget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> (Contacts, Vec<Letter>) {
        let contacts = Contacts::parse("20 1 2\n20 2 3\n40 3 4\n60 1 4\n").expect("a trace");
        (contacts, vec![Letter { at_s: 20, from: 0, to: 3, text_bytes: 200 }])
    }

    #[test]
    fn flooding_goes_over_several_hops_of_one_step() {
        let (contacts, letters) = chain();
        assert_eq!(flood(&contacts, &letters).latencies_s, [20]);
    }

    #[test]
    fn each_way_does_what_its_name_says() {
        let (contacts, letters) = chain();
        let of = |model| run(&contacts, &letters, model, 9, &mut Dice::new(1));
        assert_eq!(of(Model::Direct), Achieved { latencies_s: vec![40], copies: 1 });
        for model in [Model::Epidemic, Model::Spray] {
            let achieved = of(model);
            assert_eq!(achieved.latencies_s.len(), 1, "{model:?}");
            assert!(achieved.copies >= 1);
        }
    }

    #[test]
    fn a_full_buffer_drops_the_oldest() {
        let mut buffer = Buffer::default();
        for letter in 0..3 {
            buffer.put(letter, 1, 2);
        }
        assert_eq!((buffer.letters(), buffer.budget(0)), (vec![1, 2], None));
    }
}
