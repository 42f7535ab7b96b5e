//! Heights in a column: as near as possible to where each would like to be, in order, apart.

/// Something that stands in a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Where its top would like to be.
    pub(super) wish: f64,
    /// Its height, and the room below.
    pub(super) height: f64,
    /// How much its wish counts.
    pub(super) weight: f64,
}

/// The tops of all, in the given order: the sum of the squared distances to their wishes,
/// weighted, is the smallest one (isotonic regression by pooling neighbours).
pub(super) fn place(items: &[Item]) -> Vec<f64> {
    struct Pool {
        wish: f64,
        weight: f64,
        count: usize,
    }
    let mut pools: Vec<Pool> = Vec::new();
    let mut above = 0.0;
    for item in items {
        let mut pool = Pool {
            wish: item.wish - above,
            weight: item.weight,
            count: 1,
        };
        above += item.height;
        while let Some(last) = pools.last().filter(|last| last.wish >= pool.wish) {
            let weight = last.weight + pool.weight;
            pool.wish = (last.wish * last.weight + pool.wish * pool.weight) / weight;
            pool.weight = weight;
            pool.count += last.count;
            pools.pop();
        }
        pools.push(pool);
    }
    let wishes = pools
        .iter()
        .flat_map(|pool| std::iter::repeat_n(pool.wish, pool.count));
    let mut above = 0.0;
    wishes
        .zip(items)
        .map(|(wish, item)| {
            let top = wish + above;
            above += item.height;
            top
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(wish: f64) -> Item {
        Item {
            wish,
            height: 10.0,
            weight: 1.0,
        }
    }

    #[test]
    fn what_has_room_gets_its_wish() {
        assert_eq!(place(&[item(5.0), item(40.0)]), [5.0, 40.0]);
        assert!(place(&[]).is_empty());
    }

    #[test]
    fn what_wants_the_same_place_shares_it() {
        assert_eq!(place(&[item(20.0), item(20.0)]), [15.0, 25.0]);
        assert_eq!(place(&[item(30.0), item(10.0)]), [15.0, 25.0]);
        let heavy = Item {
            weight: 99.0,
            ..item(0.0)
        };
        assert!(place(&[item(0.0), heavy])[1].abs() < 0.2);
    }
}
