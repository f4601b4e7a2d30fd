/** What the agent itself listens on in the mesh, beside its names: open to every peer, whatever the rules. */

/** Where agents ask each other how large a packet may be (mtu-probe.ts). The same in the whole fleet. */
export const MTU_PROBE_PORT = 51_821
