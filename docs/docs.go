// Package docs embeds those documents that are contracts, so that fakes and tests hold what is sent
// against what is promised. It imports nothing of tocsin and decides nothing.
package docs

import _ "embed"

// PageSchema is the JSON Schema (2020-12) of a page's payload: docs/page.schema.json.
//
//go:embed page.schema.json
var PageSchema []byte
