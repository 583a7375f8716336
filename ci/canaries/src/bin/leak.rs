//! Leaks one allocation that nothing points to any more.

fn main() {
    let leaked = Box::leak(Box::new([7u8; 4096]));
    std::hint::black_box(leaked.as_ptr().addr());
}
