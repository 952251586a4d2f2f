//! Boxes below each other.

/// The tops of boxes, each given by where its top would best be and by its height: in their order, with
/// a gap between them, and as near to their best places as can be (least squares, by pooling those that
/// are in each other's way).
pub fn pack(boxes: &[(f64, f64)], gap: f64) -> Vec<f64> {
    struct Pool {
        sum: f64,
        count: usize,
    }
    impl Pool {
        fn mean(&self) -> f64 {
            // Few enough to be exact.
            #[allow(clippy::cast_precision_loss)]
            let count = self.count as f64;
            self.sum / count
        }
    }
    let mut pools: Vec<Pool> = Vec::new();
    let mut offset = 0.0;
    let mut offsets = Vec::new();
    for (best, height) in boxes {
        offsets.push(offset);
        let mut pool = Pool { sum: best - offset, count: 1 };
        while let Some(before) = pools.pop_if(|before| before.mean() >= pool.mean()) {
            pool = Pool { sum: before.sum + pool.sum, count: before.count + pool.count };
        }
        pools.push(pool);
        offset += height + gap;
    }
    let starts = pools.iter().flat_map(|pool| std::iter::repeat_n(pool.mean(), pool.count));
    starts.zip(offsets).map(|(start, offset)| start + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], &[])]
    #[case(&[(5.0, 10.0)], &[5.0])]
    #[case::room(&[(0.0, 10.0), (50.0, 10.0)], &[0.0, 50.0])]
    #[case::no_room(&[(10.0, 10.0), (10.0, 10.0)], &[4.0, 16.0])]
    #[case::the_third_pushes(&[(0.0, 10.0), (20.0, 10.0), (20.0, 10.0)], &[0.0, 14.0, 26.0])]
    #[case::wrong_way_round(&[(24.0, 10.0), (0.0, 10.0)], &[6.0, 18.0])]
    fn tops(#[case] boxes: &[(f64, f64)], #[case] expected: &[f64]) {
        assert_eq!(pack(boxes, 2.0), expected);
    }
}
