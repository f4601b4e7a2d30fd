/** A file as text, which Vite reads: inside workerd there are no files. */
declare module '*?raw' {
  const text: string
  export default text
}
