//! Stacks boxes.

/// The tops of boxes, given the best top and the height of each. Keeps their order, with a gap between them, as close
/// to the best tops as possible: by least squares, pooling adjacent boxes that would overlap.
pub(crate) fn pack(boxes: &[(f64, f64)], gap: f64) -> Vec<f64> {
    struct Pool {
        sum: f64,
        count: usize,
    }
    impl Pool {
        fn mean(&self) -> f64 {
            // The number is small, so the conversion is exact.
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
    #[case::no_overlap(&[(0.0, 10.0), (50.0, 10.0)], &[0.0, 50.0])]
    #[case::same_top(&[(10.0, 10.0), (10.0, 10.0)], &[4.0, 16.0])]
    #[case::third_box_pushes_the_second(&[(0.0, 10.0), (20.0, 10.0), (20.0, 10.0)], &[0.0, 14.0, 26.0])]
    #[case::wrong_order(&[(24.0, 10.0), (0.0, 10.0)], &[6.0, 18.0])]
    fn boxes_are_close_to_their_best_tops(#[case] boxes: &[(f64, f64)], #[case] expected: &[f64]) {
        assert_eq!(pack(boxes, 2.0), expected);
    }
}
