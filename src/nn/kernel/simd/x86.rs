use super::{Kernel, Simd};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Sse2(());

#[derive(Clone, Copy)]
pub struct Avx2(());

#[derive(Clone, Copy)]
pub struct Avx512(());

/// Every x86-64 has SSE2.
pub fn run_sse2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Sse2(()))
}

/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// # Safety
/// The processor has AVX-512 F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
pub unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

macro_rules! implement {
    ($simd:ty, $vector:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $add:ident, $mul:ident,
     $div:ident, $fma:ident, $min:ident, $max:ident) => {
        // SAFETY of all blocks below: a value of the type exists only inside of the function above that is called on
        // a processor with the instructions, and pointers are those of slices whose length was checked.
        impl Simd for $simd {
            type Vector = $vector;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(self, value: f32) -> $vector {
                // SAFETY: the processor has the instruction, see above.
                unsafe { $set1(value) }
            }

            #[inline(always)]
            fn load(self, values: &[f32]) -> $vector {
                let values = &values[..$lanes];
                // SAFETY: as above; so many values are there, and they need not be aligned.
                unsafe { $load(values.as_ptr()) }
            }

            #[inline(always)]
            fn store(self, vector: $vector, values: &mut [f32]) {
                let values = &mut values[..$lanes];
                // SAFETY: as above.
                unsafe { $store(values.as_mut_ptr(), vector) }
            }

            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: as for `splat`.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: as for `splat`.
                unsafe { $mul(a, b) }
            }

            #[inline(always)]
            fn div(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: as for `splat`.
                unsafe { $div(a, b) }
            }

            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: as for `splat`.
                unsafe { $fma(a, b, c) }
            }

            #[inline(always)]
            fn clamp(self, a: $vector, limit: f32) -> $vector {
                // Of a number and a NaN these instructions give the second.
                // SAFETY: as for `splat`.
                unsafe { $max($set1(-limit), $min($set1(limit), a)) }
            }
        }
    };
}

#[inline(always)]
unsafe fn mul_then_add(a: __m128, b: __m128, c: __m128) -> __m128 {
    // SAFETY: every x86-64 has SSE2.
    unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
}

implement!(
    Sse2,
    __m128,
    4,
    _mm_set1_ps,
    _mm_loadu_ps,
    _mm_storeu_ps,
    _mm_add_ps,
    _mm_mul_ps,
    _mm_div_ps,
    mul_then_add,
    _mm_min_ps,
    _mm_max_ps
);
implement!(
    Avx2,
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_min_ps,
    _mm256_max_ps
);
implement!(
    Avx512,
    __m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_min_ps,
    _mm512_max_ps
);
