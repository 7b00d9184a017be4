// Prints the report of Khronos' glTF validator on a file as JSON: node validate.cjs FILE
const { readFileSync } = require("node:fs");
const { validateBytes } = require("gltf-validator");

validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 100 }).then((report) =>
  console.log(JSON.stringify(report)),
);
