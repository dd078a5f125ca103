package docker

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// The labels by which what is ours is known.
const (
	labelOwner      = "fairlead.owner"
	labelInstance   = "fairlead.instance"
	labelService    = "fairlead.service"
	labelReplica    = "fairlead.replica"
	labelName       = "fairlead.name" // the name it was made to serve under
	labelHash       = "fairlead.hash"
	labelImage      = "fairlead.image" // the reference
	labelGeneration = "fairlead.generation"
	labelRevision   = "fairlead.revision"
	labelPeer       = "fairlead.peer." // + service = container ID
)

// The labels that docker compose looks for. Without config-hash, service and
// oneoff it does not see a container, or leaves it at "down".
const (
	composeProject    = "com.docker.compose.project"
	composeService    = "com.docker.compose.service"
	composeNumber     = "com.docker.compose.container-number"
	composeOneoff     = "com.docker.compose.oneoff"
	composeHash       = "com.docker.compose.config-hash"
	composeVersion    = "com.docker.compose.version"
	composeDependsOn  = "com.docker.compose.depends_on"
	composeImage      = "com.docker.compose.image"
	composeWorkingDir = "com.docker.compose.project.working_dir"
	composeFiles      = "com.docker.compose.project.config_files"
	composeNetwork    = "com.docker.compose.network"
	composeVolume     = "com.docker.compose.volume"
)

// properName is the name that a container serves under.
func properName(spec desired.Spec, s desired.Service, replica int) string {
	if s.ContainerName != "" {
		return s.ContainerName
	}
	return fmt.Sprintf("%s-%s-%d", spec.Name, s.Name, replica)
}

func (e *Engine) containerLabels(t reconciler.Target, s desired.Service, replica int, image string, peers map[string]string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, s.Labels)
	maps.Copy(l, map[string]string{
		labelOwner: e.opts.Owner, labelInstance: t.Spec.Name, labelService: s.Name,
		labelReplica: strconv.Itoa(replica), labelName: properName(t.Spec, s, replica),
		labelHash: s.Hash(), labelImage: s.Image,
		labelGeneration: strconv.Itoa(t.Generation), labelRevision: t.Revision,
		composeProject: t.Spec.Name, composeService: s.Name,
		composeNumber: strconv.Itoa(replica), composeOneoff: "False",
		composeHash: s.Hash(), composeVersion: "fairlead", composeImage: image,
		composeDependsOn: dependsOn(s), composeWorkingDir: t.Dir,
		composeFiles: path.Join("/", t.Spec.Dir, "compose.yaml"),
	})
	for svc, id := range peers {
		l[labelPeer+svc] = id
	}
	return l
}

// dependsOn is written as docker compose reads it: "service:condition:restart".
func dependsOn(s desired.Service) string {
	parts := make([]string, len(s.DependsOn))
	for i, d := range s.DependsOn {
		parts[i] = fmt.Sprintf("%s:%s:%t", d.Service, d.Condition, d.Restart)
	}
	return strings.Join(parts, ",")
}

func (e *Engine) networkLabels(t reconciler.Target, n desired.Network) map[string]string {
	return e.objectLabels(t, n.Labels, n.Hash(), composeNetwork, n.Key)
}

func (e *Engine) volumeLabels(t reconciler.Target, v desired.Volume) map[string]string {
	return e.objectLabels(t, v.Labels, v.Hash(), composeVolume, v.Key)
}

func (e *Engine) objectLabels(t reconciler.Target, own map[string]string, hash, kind, key string) map[string]string {
	l := map[string]string{}
	maps.Copy(l, own)
	maps.Copy(l, map[string]string{
		labelOwner: e.opts.Owner, labelInstance: t.Spec.Name, labelHash: hash,
		composeProject: t.Spec.Name, kind: key, composeVersion: "fairlead",
	})
	return l
}

// owns says whether labels are those of an object of this owner's instance.
func (e *Engine) owns(labels map[string]string, instance string) bool {
	return labels[labelOwner] == e.opts.Owner && labels[labelInstance] == instance
}

// whoseIs says in words to whom an object that is not the instance's belongs.
func (e *Engine) whoseIs(labels map[string]string) string {
	switch owner, inst := labels[labelOwner], labels[labelInstance]; {
	case owner == e.opts.Owner && inst != "":
		return "instance " + inst
	case owner != "":
		return fmt.Sprintf("instance %s of the data directory %s", inst, owner)
	case labels[composeProject] != "":
		return "compose project " + labels[composeProject]
	}
	return "nobody's label"
}
