//! The sizes that Fargate offers.

use serde::{Deserialize, Serialize};

use super::violation::{Violation, ViolationCode};

/// CPU and memory of a task, as one of the combinations that Fargate offers.
///
/// Source: Amazon ECS Developer Guide, "Amazon ECS task definition parameters for Fargate",
/// section "Task size".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FargateSize {
    /// CPU units; 1,024 are one vCPU.
    pub cpu: u32,
    /// Memory in MiB.
    pub memory: u32,
}

struct Row {
    cpu: u32,
    /// Smallest and largest memory, and the step between, in MiB.
    memory: (u32, u32, u32),
}

const GIB: u32 = 1024;

/// 256 units take 512 MiB as well, a step of its own: the row below has steps of 512 and
/// [`allowed`] leaves out 1.5 GB.
const ROWS: [Row; 7] = [
    Row { cpu: 256, memory: (512, 2 * GIB, 512) },
    Row { cpu: 512, memory: (GIB, 4 * GIB, GIB) },
    Row { cpu: 1024, memory: (2 * GIB, 8 * GIB, GIB) },
    Row { cpu: 2048, memory: (4 * GIB, 16 * GIB, GIB) },
    Row { cpu: 4096, memory: (8 * GIB, 30 * GIB, GIB) },
    Row { cpu: 8192, memory: (16 * GIB, 60 * GIB, 4 * GIB) },
    Row { cpu: 16384, memory: (32 * GIB, 120 * GIB, 8 * GIB) },
];

impl FargateSize {
    /// The smallest size: 256 CPU units and 512 MiB.
    pub const SMALLEST: FargateSize = FargateSize { cpu: 256, memory: 512 };

    /// The size of `cpu` and `memory`. What is not given is chosen: the smallest memory for the
    /// CPU, or the smallest CPU that offers the memory.
    ///
    /// Errors: violations at `/cpu` or `/memory` that say what is offered.
    pub fn choose(cpu: Option<u32>, memory: Option<u32>) -> Result<FargateSize, Violation> {
        match (cpu, memory) {
            (None, None) => Ok(FargateSize::SMALLEST),
            (Some(cpu), memory) => {
                let row = ROWS.iter().find(|row| row.cpu == cpu).ok_or_else(|| {
                    let offered: Vec<String> = ROWS.iter().map(|row| row.cpu.to_string()).collect();
                    Violation::new(
                        "/cpu",
                        ViolationCode::Range,
                        format!("Fargate offers {} CPU units, not {cpu}", offered.join(", ")),
                    )
                })?;
                let memory = memory.unwrap_or(row.memory.0);
                if !allowed(row, memory) {
                    return Err(Violation::new(
                        "/memory",
                        ViolationCode::Range,
                        format!(
                            "with {cpu} CPU units Fargate offers {} MiB, not {memory}",
                            offered(row)
                        ),
                    ));
                }
                Ok(FargateSize { cpu, memory })
            }
            (None, Some(memory)) => ROWS
                .iter()
                .find(|row| allowed(row, memory))
                .map(|row| FargateSize { cpu: row.cpu, memory })
                .ok_or_else(|| {
                    Violation::new(
                        "/memory",
                        ViolationCode::Range,
                        format!(
                            "Fargate offers no task with {memory} MiB: from 512 to 122880 MiB, \
                             in steps that depend on the CPU"
                        ),
                    )
                }),
        }
    }
}

fn allowed(row: &Row, memory: u32) -> bool {
    let (smallest, largest, step) = row.memory;
    (smallest..=largest).contains(&memory)
        && (memory - smallest).is_multiple_of(step)
        && !(row.cpu == 256 && memory == 1536)
}

fn offered(row: &Row) -> String {
    if row.cpu == 256 {
        return "512, 1024 or 2048".to_owned();
    }
    let (smallest, largest, step) = row.memory;
    format!("{smallest} to {largest} in steps of {step}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table as AWS prints it, each row written out.
    fn documented(cpu: u32) -> Vec<u32> {
        let gib = |from: u32, to: u32, step: usize| (from..=to).step_by(step).map(|n| n * 1024);
        match cpu {
            256 => vec![512, 1024, 2048],
            512 => gib(1, 4, 1).collect(),
            1024 => gib(2, 8, 1).collect(),
            2048 => gib(4, 16, 1).collect(),
            4096 => gib(8, 30, 1).collect(),
            8192 => gib(16, 60, 4).collect(),
            16384 => gib(32, 120, 8).collect(),
            _ => vec![],
        }
    }

    proptest! {
        #[test]
        fn exactly_the_documented_sizes_are_taken(
            cpu in prop_oneof![
                prop::sample::select(vec![256u32, 512, 1024, 2048, 4096, 8192, 16384]),
                0..20_000u32,
            ],
            memory in prop_oneof![(0..130u32).prop_map(|n| n * 1024), 0..130_000u32, Just(512)],
        ) {
            let taken = FargateSize::choose(Some(cpu), Some(memory)).is_ok();
            prop_assert_eq!(taken, documented(cpu).contains(&memory));
        }

        #[test]
        fn what_is_chosen_is_offered(cpu in prop::sample::select(vec![256u32, 1024, 16384])) {
            let size = FargateSize::choose(Some(cpu), None).unwrap();
            prop_assert!(documented(size.cpu).contains(&size.memory));
            let again = FargateSize::choose(None, Some(size.memory)).unwrap();
            prop_assert!(documented(again.cpu).contains(&size.memory));
        }
    }

    #[test]
    fn the_detail_says_what_is_offered() {
        let wrong = FargateSize::choose(Some(256), Some(1536)).unwrap_err();
        assert_eq!(wrong.pointer, "/memory");
        assert_eq!(
            wrong.detail,
            "with 256 CPU units Fargate offers 512, 1024 or 2048 MiB, not 1536"
        );
        assert_eq!(FargateSize::choose(Some(300), None).unwrap_err().pointer, "/cpu");
    }
}
