/** Whether nodes share keys beside WireGuard's own, and how they agree on them. */
export const PSK_MODES = ['off', 'ml-kem-768'] as const
export type PskMode = (typeof PSK_MODES)[number]
