"""An independent verifier of an export: chain, tree and the anchors' roots. One core, hashlib, as one would write it.

usage: verify.py trail.ndjson anchors/
Its anchors' signatures are not checked: this is the peer of B6, and a second opinion about chain and tree.
"""
import base64, hashlib, json, os, sys


def lp(*parts):
    out = len(parts).to_bytes(4, "big")
    for part in parts:
        out += len(part).to_bytes(4, "big") + part
    return out


def main(path, anchors_dir):
    sha = hashlib.sha256
    anchors = {}
    for name in sorted(os.listdir(anchors_dir)):
        with open(os.path.join(anchors_dir, name)) as file:
            anchor = json.load(file)
        root = base64.b64decode(anchor["checkpoint"].split("\n")[2])
        anchors[anchor["size"]] = (root, anchor["head"])
    with open(path) as file:
        header = json.loads(file.readline())
        head = sha(lp(b"ztmysql/v1/genesis", header["origin"].encode())).hexdigest()
        nodes, size = [], 0
        for line in file:
            event = json.loads(line)
            if "seq" not in event:
                break
            payload = base64.b64decode(event["payload"], validate=True)
            json.loads(payload)
            if event["seq"] != size or event["prev"] != head:
                sys.exit(f"event {size}: broken chain")
            head = sha(bytes.fromhex(event["prev"]) + payload).hexdigest()
            if head != event["curr"]:
                sys.exit(f"event {size}: wrong hash")
            node, rest = sha(b"\0" + payload).digest(), size
            while rest & 1:
                node = sha(b"\1" + nodes.pop() + node).digest()
                rest >>= 1
            nodes.append(node)
            size += 1
            if size in anchors:
                root = nodes[-1]
                for left in reversed(nodes[:-1]):
                    root = sha(b"\1" + left + root).digest()
                if anchors.pop(size) != (root, head):
                    sys.exit(f"anchor over {size} events: another root or head")
    if anchors or size != header["size"] or head != header["head"]:
        sys.exit("the trail is not what was anchored")
    print(size, head)


main(sys.argv[1], sys.argv[2])
