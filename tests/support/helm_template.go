// Renders a template of deploy/helm, given by its path, for the JSON on stdin: {"Values": ..., "Release": ..., "Chart": ...}.
// The engine is Helm's, Go's text/template. These functions are the ones of Helm's that the templates use.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

func main() {
	var values map[string]interface{}
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil {
		log.Fatal(err)
	}
	made, err := template.New(filepath.Base(os.Args[1])).Option("missingkey=error").Funcs(template.FuncMap{
		"add": func(a, b interface{}) int64 { return integer(a) + integer(b) },
		"default": func(otherwise, given string) string {
			if given == "" {
				return otherwise
			}
			return given
		},
		"nindent": func(spaces int, text string) string {
			indent := "\n" + strings.Repeat(" ", spaces)
			return indent + strings.ReplaceAll(text, "\n", indent)
		},
		"quote": func(value interface{}) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"toYaml": func(value interface{}) (string, error) { // JSON is YAML
			text, err := json.Marshal(value)
			return string(text), err
		},
	}).ParseFiles(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := made.Execute(os.Stdout, values); err != nil {
		log.Fatal(err)
	}
}

func integer(value interface{}) int64 {
	switch number := value.(type) {
	case float64: // of JSON
		return int64(number)
	case int:
		return int64(number)
	}
	log.Fatalf("not a number: %v", value)
	return 0
}
