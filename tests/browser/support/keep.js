const IMAGES = new URL('../../../docs/images/', import.meta.url)

/** Keeps what a page shows as an image of the docs, if it is asked to: SCREENSHOTS=1. */
export async function keep(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({path: new URL(`${name}.png`, IMAGES).pathname})
}
