//! Shamir's secret sharing over GF(2^8), as SOPS splits a file's key among groups of keys: each byte of the secret is
//! where a polynomial meets zero, and a share is what the polynomials are at one other place. Pure.

/// The secret of enough shares. Each ends with the place that it is of. `None`: they are not of one secret.
pub fn combine(shares: &[Vec<u8>]) -> Option<Vec<u8>> {
    let points: Vec<(u8, &[u8])> =
        shares.iter().map(|share| share.split_last().map(|(x, ys)| (*x, ys))).collect::<Option<_>>()?;
    let length = points.first()?.1.len();
    let alike = |(index, (x, ys)): (usize, &(u8, &[u8]))| {
        *x != 0 && ys.len() == length && points[..index].iter().all(|(other, _)| other != x)
    };
    if !points.iter().enumerate().all(alike) {
        return None;
    }
    // Lagrange's interpolation at zero; what is added is what is subtracted.
    let weight = |x: u8| {
        let others = points.iter().map(|(other, _)| *other).filter(|other| *other != x);
        others.fold(1, |weight, other| multiply(weight, multiply(other, inverse(other ^ x))))
    };
    let mut secret = vec![0; length];
    for (x, ys) in &points {
        let weight = weight(*x);
        secret.iter_mut().zip(*ys).for_each(|(byte, y)| *byte ^= multiply(*y, weight));
    }
    Some(secret)
}

/// Of polynomials modulo x^8 + x^4 + x^3 + x + 1, as in AES. No branch and no look-up depends on a secret.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut a) = (0, a);
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub((b >> bit) & 1);
        a = (a << 1) ^ (0x1b & 0_u8.wrapping_sub(a >> 7));
    }
    product
}

/// The 254th power: there are 255 numbers but zero.
fn inverse(a: u8) -> u8 {
    (0..7)
        .fold((1, a), |(product, power), _| {
            let power = multiply(power, power);
            (multiply(product, power), power)
        })
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_divided_by_itself_is_one() {
        assert!((1..=255).all(|a| multiply(a, inverse(a)) == 1));
        // The example of FIPS 197, section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
    }

    #[test]
    fn as_many_shares_as_it_takes_give_the_secret() {
        // 7 + 5x + 3x^2 at some places.
        let share = |x: u8| vec![7 ^ multiply(5, x) ^ multiply(3, multiply(x, x)), x];
        let shares: Vec<_> = [1, 77, 200, 255].map(share).to_vec();
        for left_out in 0..4 {
            let some: Vec<_> = (0..4).filter(|index| *index != left_out).map(|index| shares[index].clone()).collect();
            assert_eq!(combine(&some), Some(vec![7]));
        }
        assert_eq!(combine(&shares), Some(vec![7]));
        assert_ne!(combine(&shares[..2]), Some(vec![7]));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for wrong in
            [vec![], vec![vec![]], vec![vec![1, 2], vec![3, 2]], vec![vec![1, 0]], vec![vec![1, 2, 3], vec![4, 5]]]
        {
            assert_eq!(combine(&wrong), None, "{wrong:?}");
        }
    }
}
