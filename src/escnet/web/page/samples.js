/**
 * The example pictures that come with the page.
 */

/**
 * @typedef {Object} Sample
 * @property {string} file In the folder of examples.
 * @property {string} title
 * @property {string} names
 * @property {string} by
 * @property {string} licence
 * @property {string} licence_page
 */

/** @returns {Promise<Sample[]>} */
export async function loadSamples() {
  return (await fetch("examples/examples.json")).json();
}

/** The picture as a file. @param {Sample} sample */
export async function loadPicture({ file }) {
  const content = await (await fetch(`examples/${file}`)).blob();
  return new File([content], file, { type: content.type });
}

/** The name of an example in a link. @param {Sample} sample */
export function nameOf({ file }) {
  return file.replace(/\.[^.]*$/, "");
}
