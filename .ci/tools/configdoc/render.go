package main

import (
	"bytes"
	"fmt"
	"go/doc/comment"
	"regexp"
	"strings"
)

const intro = `<!-- Generated from the doc comments in the code by "make generate". Do not edit. -->

# Configuration reference

Leave a field at its zero value to get the default given here. A field called
required has none.
`

// render writes the page.
func render(structs []structDoc) []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	for _, s := range structs {
		fmt.Fprintf(&b, "\n## %s.%s\n", s.Package, s.Name)
		for _, block := range blocks(s.Doc) {
			fmt.Fprintf(&b, "\n%s\n", block)
		}
		b.WriteString("\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n")
		for _, f := range s.Fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n",
				strings.Join(f.Names, "`, `"), code(f.Type), cell(f.defaultText()), cell(f.meaning()))
		}
	}
	return b.Bytes()
}

// A default is the sentence that says so; it ends with a full stop before a
// space or the end of the comment, so "0.5 s" and "pool.Name" are whole.
var (
	defaultSentence  = regexp.MustCompile(`(?s)(?:^|\s)Defaults?: (.+?)\.(?:\s|$)`)
	requiredSentence = regexp.MustCompile(`(?s)(?:^|\s)Required\.(?:\s|$)`)
)

// defaultText returns what the comment says the zero value means. A comment
// that does not say gets the plain zero value of the type.
func (f fieldDoc) defaultText() string {
	if m := defaultSentence.FindStringSubmatch(f.Doc); m != nil {
		return m[1]
	}
	if requiredSentence.MatchString(f.Doc) {
		return "required"
	}
	switch f.Type {
	case "bool":
		return "false"
	case "string":
		return "empty"
	case "int", "int64", "uint", "uint64", "float64", "time.Duration":
		return "0"
	default:
		return "none"
	}
}

// meaning returns the comment without the sentence that defaultText shows.
func (f fieldDoc) meaning() string {
	text := f.Doc
	switch {
	case defaultSentence.MatchString(text):
		text = replaceFirst(defaultSentence, text)
	case requiredSentence.MatchString(text):
		text = replaceFirst(requiredSentence, text)
	}
	return strings.TrimSpace(text)
}

// replaceFirst puts a space where re first matches in s.
func replaceFirst(re *regexp.Regexp, s string) string {
	at := re.FindStringIndex(s)
	return s[:at[0]] + " " + s[at[1]:]
}

// code shows s as code inside a table cell.
func code(s string) string {
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// cell shows a comment inside a table cell, on one line.
func cell(text string) string {
	s := strings.Join(blocks(text), "<br>")
	s = strings.ReplaceAll(s, "\n", "<br>")
	return strings.ReplaceAll(s, "|", `\|`)
}

// blocks turns a doc comment into blocks of Markdown. Code becomes a fenced
// block, so a comment that goes into a cell should have none.
func blocks(text string) []string {
	// Whatever looks like a doc link is one: go vet and the linters see to it
	// that it names something.
	parser := comment.Parser{
		LookupPackage: func(name string) (string, bool) { return name, true },
		LookupSym:     func(string, string) bool { return true },
	}
	var out []string
	for _, b := range parser.Parse(text).Content {
		switch b := b.(type) {
		case *comment.Paragraph:
			out = append(out, inline(b.Text))
		case *comment.Heading:
			out = append(out, "### "+inline(b.Text))
		case *comment.Code:
			out = append(out, "```go\n"+strings.TrimSuffix(b.Text, "\n")+"\n```")
		case *comment.List:
			out = append(out, list(b))
		}
	}
	return out
}

func list(l *comment.List) string {
	items := make([]string, 0, len(l.Items))
	for _, item := range l.Items {
		mark := "-"
		if item.Number != "" {
			mark = item.Number + "."
		}
		var parts []string
		for _, b := range item.Content {
			if p, ok := b.(*comment.Paragraph); ok {
				parts = append(parts, inline(p.Text))
			}
		}
		items = append(items, mark+" "+strings.Join(parts, " "))
	}
	return strings.Join(items, "\n")
}

// inline turns running text into Markdown on one line. Doc links become code,
// because the page has no place to point them to.
func inline(text []comment.Text) string {
	var b strings.Builder
	for _, t := range text {
		switch t := t.(type) {
		case comment.Plain:
			b.WriteString(escape(string(t)))
		case comment.Italic:
			b.WriteString("*" + escape(string(t)) + "*")
		case *comment.Link:
			fmt.Fprintf(&b, "[%s](%s)", inline(t.Text), t.URL)
		case *comment.DocLink:
			var name strings.Builder
			for _, part := range t.Text {
				if p, ok := part.(comment.Plain); ok {
					name.WriteString(string(p))
				}
			}
			b.WriteString("`" + name.String() + "`")
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// escape keeps Markdown from reading marks into plain text.
func escape(s string) string {
	return strings.NewReplacer(
		`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", "`", "\\`",
	).Replace(s)
}
