package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
)

// LoadConnector reads the file of one connector of an instance by itself: what
// else is wrong with the instance is no matter. values are those of secrets; they
// are stronger than what the instance and this host have. The instance need not
// be there.
func LoadConnector(in Input, instance, name string, data []byte, values map[string]string) (ConnectorSpec, error) {
	file := path.Join(in.Dir, connectorsDir, name+".yaml")
	l := &loader{in: in, dir: path.Clean(in.Dir), fsys: Overlay(in.Tree, in.Dir, in.Local), name: instance, file: &parsed{document: document{file: file}}}
	c := parseConnector(file, data)
	l.connectors = []*connectorDocument{c}
	l.checkConnectorNames()
	roots, err := l.connectorRoots()
	if err != nil {
		return ConnectorSpec{}, fmt.Errorf("load connector %s: %w", name, err)
	}
	env, err := l.knownValues()
	if err != nil {
		return ConnectorSpec{}, fmt.Errorf("load connector %s: %w", name, err)
	}
	maps.Copy(env, values)
	specs := l.connectorSpecs(Project{HostEnv: env}, roots)
	if err := append(l.problems, c.problems...).Err(); err != nil {
		return ConnectorSpec{}, err
	}
	return specs[name], nil
}

// knownValues are those of the secrets that the instance and this host have.
func (l *loader) knownValues() (map[string]string, error) {
	env := map[string]string{}
	if err := l.readSecrets(); err != nil || l.in.Compose == nil {
		maps.Copy(env, l.values(nil))
		return env, err
	}
	p, err := l.in.Compose(ComposeInput{Tree: l.in.Tree, Dir: l.dir, Local: l.in.Local, Name: standInName, NoFiles: true})
	var problems Problems
	if errors.As(err, &problems) {
		l.problems, err = append(l.problems, problems...), nil
	}
	maps.Copy(env, l.values(p.HostEnv))
	return env, err
}

// ConnectorFiles are the files of the connectors of an instance in tree, by the
// connector's name.
func ConnectorFiles(tree fs.FS, dir string) (map[string]string, error) {
	found, _, err := connectorFiles(tree, dir)
	files := map[string]string{}
	for _, name := range found {
		file := path.Join(dir, name)
		files[parseConnector(file, nil).name] = file
	}
	return files, err
}
