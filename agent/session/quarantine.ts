/** A node that the gateway holds: what to say of it, and how long to wait before asking whether it was released. */

const WAIT_MS = 5 * 60_000

/** Uniform in five to ten minutes: nothing but the owner's word changes it. @param random uniform in [0, 1). */
export const quarantineWait = (random: number): number => WAIT_MS * (1 + random)

export const quarantined = (name: string) => ({
  code: 'E_NODE_QUARANTINED',
  message: 'the gateway holds this node in quarantine',
  why: 'its owner has put it there, or two machines use its identity',
  fix: `see why with \`claw node show ${name}\`, then \`claw node release ${name}\``,
})
