//! Vectors of f32 and the five kinds of them: AVX-512, AVX2 with FMA, SSE2, NEON, and arrays that the compiler lays out
//! as it can.
//!
//! A value of a type that implements [`Simd`] is a proof that the processor has the instructions: it comes from
//! [`Path::run`] alone, which asks the processor.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// What the kernels are written with. All functions work on each lane for itself.
pub trait Simd: Copy {
    type Vector: Copy;
    const LANES: usize;

    fn splat(self, value: f32) -> Self::Vector;
    /// The first [`Self::LANES`] of `values`, which are at least so many.
    fn load(self, values: &[f32]) -> Self::Vector;
    /// Into the first [`Self::LANES`] of `values`, which are at least so many.
    fn store(self, vector: Self::Vector, values: &mut [f32]);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b + c, rounded once or twice.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Within ±`limit`; what is not a number stays so.
    fn clamp(self, a: Self::Vector, limit: f32) -> Self::Vector;
}

/// Work that can be done with any vectors. `run` has to be `#[inline(always)]`: only so is it compiled for them.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A kind of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Portable,
    /// 128 bits; every x86-64.
    Sse2,
    /// 256 bits and fused products and sums; x86-64 since 2013.
    Avx2,
    /// 512 bits; x86-64 servers since 2017, desktops since 2022.
    Avx512,
    /// 128 bits; every 64-bit ARM.
    Neon,
}

impl Path {
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse2, Self::Neon, Self::Portable];

    /// The widest that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|path| path.is_available()).unwrap_or(Self::Portable)
    }

    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            // Miri knows no intrinsics of vectors.
            Self::Sse2 => cfg!(all(target_arch = "x86_64", not(miri))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// This one, or portable vectors where the processor does not have it.
    pub fn or_portable(self) -> Self {
        if self.is_available() { self } else { Self::Portable }
    }

    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 => 8,
            Self::Sse2 | Self::Neon => 4,
            Self::Portable => portable::Portable::LANES,
        }
    }

    /// Does the work with vectors of this kind; with portable ones where the processor does not have them.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => x86::run_sse2(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only reached when the processor has the instructions.
            Self::Avx2 if self.is_available() => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 if self.is_available() => unsafe { x86::run_avx512(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Self::Neon if self.is_available() => unsafe { neon::run(kernel) },
            _ => kernel.run(portable::Portable(())),
        }
    }
}
