// Reads a log's data as JSON and checks it with the modules that Go's own checksum database is made with.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type claim struct {
	Verifier    string
	Signer      string
	Note        string
	Records     []string // entries, hex
	Index       int64
	Inclusion   []string
	Old         int64
	Consistency []string
}

// The tree over the records, as that implementation keeps it.
type store map[int64]tlog.Hash

func (s store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s[index]
	}
	return found, nil
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func hashes(texts []string) []tlog.Hash {
	found := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		raw, err := hex.DecodeString(text)
		check(err)
		copy(found[i][:], raw)
	}
	return found
}

func main() {
	var c claim
	check(json.NewDecoder(os.Stdin).Decode(&c))
	kept, next := store{}, int64(0)
	roots := []tlog.Hash{{}}
	for i, text := range c.Records {
		raw, err := hex.DecodeString(text)
		check(err)
		grown, err := tlog.StoredHashes(int64(i), raw, kept)
		check(err)
		for _, hash := range grown {
			kept[next] = hash
			next++
		}
		root, err := tlog.TreeHash(int64(i)+1, kept)
		check(err)
		roots = append(roots, root)
	}
	verifier, err := note.NewVerifier(c.Verifier)
	check(err)
	opened, err := note.Open([]byte(c.Note), note.VerifierList(verifier))
	check(err)
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + opened.Text[len(verifier.Name())+1:]))
	check(err)
	size := int64(len(c.Records))
	if tree.N != size || tree.Hash != roots[size] {
		check(fmt.Errorf("the signed root is %v of %d, and %v of %d was expected", tree.Hash, tree.N, roots[size], size))
	}
	record, err := hex.DecodeString(c.Records[c.Index])
	check(err)
	check(tlog.CheckRecord(hashes(c.Inclusion), size, tree.Hash, c.Index, tlog.RecordHash(record)))
	check(tlog.CheckTree(hashes(c.Consistency), size, tree.Hash, c.Old, roots[c.Old]))
	// And the other way: a key file of ours signs there.
	signer, err := note.NewSigner(c.Signer)
	check(err)
	signed, err := note.Sign(&note.Note{Text: opened.Text}, signer)
	check(err)
	fmt.Print(string(signed))
}
