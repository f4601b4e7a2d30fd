/** How the programs of a node come to the names of the mesh. */
export const NAMES_MODES = ['auto', 'resolved', 'hosts', 'off'] as const
export type NamesMode = (typeof NAMES_MODES)[number]
