-- SPDX-License-Identifier: Apache-2.0
--
-- Shows Wireshark and tshark what goes over plain Pinecone peerings (tcp:// and ws://): handshakes, frames, and
-- the beacons of LAN discovery. Peerings inside TLS stay closed, and so does what is inside of sessions.
--
--     wireshark -X lua_script:contrib/wireshark/pinecone.lua
--
-- or copy it to the folder of personal Lua plugins (Help, About, Folders). A connection is recognised by its
-- handshake or by the magic bytes of a frame; for others there is "Decode As". docs/protocol.md explains the fields.

local pinecone = Proto("pinecone", "Pinecone")

local FRAME_TYPES = {
    [0] = "Keepalive", [1] = "Tree announcement", [2] = "Bootstrap", [3] = "Traffic", [4] = "Wakeup broadcast",
}
local HEADER_LENGTH, HANDSHAKE_LENGTH, KEY_LENGTH, SIGNATURE_LENGTH = 10, 104, 32, 64
local MAGIC, HANDSHAKE_START = "70696e65", "010000000000003b"
local BEACON_PORT, BEACON_LENGTH = 60606, 34

local f = pinecone.fields
f.handshake = ProtoField.none("pinecone.handshake", "Handshake")
f.handshake_version = ProtoField.uint8("pinecone.handshake.version", "Version")
f.capabilities = ProtoField.uint32("pinecone.handshake.capabilities", "Capabilities", base.HEX)
f.key = ProtoField.bytes("pinecone.key", "Public key")
f.address = ProtoField.string("pinecone.address", "Overlay address")
f.signature = ProtoField.bytes("pinecone.signature", "Signature")
f.version = ProtoField.uint8("pinecone.version", "Version")
f.type = ProtoField.uint8("pinecone.type", "Type", base.DEC, FRAME_TYPES)
f.extra = ProtoField.uint8("pinecone.extra", "Extra")
f.hop_limit = ProtoField.uint8("pinecone.hop_limit", "Hop limit")
f.length = ProtoField.uint16("pinecone.length", "Length")
f.payload_length = ProtoField.uint16("pinecone.payload_length", "Payload length")
f.payload = ProtoField.bytes("pinecone.payload", "Payload")
f.destination = ProtoField.string("pinecone.destination", "Destination coords")
f.source = ProtoField.string("pinecone.source", "Source coords")
f.destination_key = ProtoField.bytes("pinecone.destination_key", "Destination key")
f.source_key = ProtoField.bytes("pinecone.source_key", "Source key")
f.watermark_key = ProtoField.bytes("pinecone.watermark.key", "Watermark key")
f.watermark_sequence = ProtoField.uint64("pinecone.watermark.sequence", "Watermark sequence")
f.root_key = ProtoField.bytes("pinecone.root.key", "Root key")
f.root_sequence = ProtoField.uint64("pinecone.root.sequence", "Root sequence")
f.sequence = ProtoField.uint64("pinecone.sequence", "Sequence")
f.hop = ProtoField.none("pinecone.hop", "Hop")
f.hop_port = ProtoField.uint64("pinecone.hop.port", "Port")
f.beacon_port = ProtoField.uint16("pinecone.beacon.port", "TCP port")

local malformed = ProtoExpert.new("pinecone.malformed", "Malformed or cut off", expert.group.MALFORMED, expert.severity.ERROR)
local foreign = ProtoExpert.new("pinecone.foreign", "Neither a frame nor a handshake", expert.group.PROTOCOL, expert.severity.WARN)
pinecone.experts = { malformed, foreign }

local function hex(range) return range:bytes():tohex(true) end

local function is_frame(tvb, offset) return tvb:len() - offset >= 4 and hex(tvb(offset, 4)) == MAGIC end

local function is_handshake(tvb, offset)
    return tvb:len() - offset >= 8 and hex(tvb(offset, 8)) == HANDSHAKE_START
end

-- fd and the first 15 bytes of the key.
local function address(key)
    local digits = "fd" .. hex(key(0, 15))
    return (digits:gsub("%x%x%x%x", "%0:"):sub(1, -2))
end

local function add_key(tree, field, key)
    tree:add(field, key):append_text(" (" .. address(key) .. ")")
    tree:add(f.address, key(0, 15), address(key)):set_hidden(true)
end

-- The number and the offset behind it.
local function varu64(tvb, offset)
    local value = UInt64(0)
    for index = offset, offset + 9 do
        local byte = tvb(index, 1):uint()
        value = value * UInt64(128) + UInt64(byte % 128)
        if byte < 128 then return value, index + 1 end
    end
    error("a number of more than 10 bytes")
end

local function add_number(tree, field, tvb, offset)
    local value, after = varu64(tvb, offset)
    tree:add(field, tvb(offset, after - offset), value)
    return after
end

local function add_coords(tree, field, tvb, offset)
    local after = offset + 2 + tvb(offset, 2):uint()
    local ports, position = {}, offset + 2
    while position < after do
        local port
        port, position = varu64(tvb, position)
        ports[#ports + 1] = tostring(port)
    end
    local text = "[" .. table.concat(ports, ",") .. "]"
    tree:add(field, tvb(offset, after - offset), text)
    return after, text
end

local function add_watermark(tree, tvb, offset)
    add_key(tree, f.watermark_key, tvb(offset, KEY_LENGTH))
    return add_number(tree, f.watermark_sequence, tvb, offset + KEY_LENGTH)
end

local function add_root(tree, tvb, offset)
    add_key(tree, f.root_key, tvb(offset, KEY_LENGTH))
    return add_number(tree, f.root_sequence, tvb, offset + KEY_LENGTH)
end

-- The payload of bootstraps and broadcasts.
local function add_signed(tree, tvb)
    local offset = add_number(tree, f.sequence, tvb, 0)
    offset = add_root(tree, tvb, offset)
    tree:add(f.signature, tvb(offset, SIGNATURE_LENGTH))
end

local function add_announcement(tree, tvb)
    local offset = add_root(tree, tvb, 0)
    while tvb:len() - offset >= 1 + KEY_LENGTH + SIGNATURE_LENGTH do
        local _, key_at = varu64(tvb, offset)
        local hop = tree:add(f.hop, tvb(offset, key_at - offset + KEY_LENGTH + SIGNATURE_LENGTH))
        add_number(hop, f.hop_port, tvb, offset)
        add_key(hop, f.key, tvb(key_at, KEY_LENGTH))
        hop:add(f.signature, tvb(key_at + KEY_LENGTH, SIGNATURE_LENGTH))
        offset = key_at + KEY_LENGTH + SIGNATURE_LENGTH
    end
end

local function add_payload(tree, tvb, offset, length)
    local payload = tvb(offset, length)
    return tree:add(f.payload, payload), payload:tvb()
end

local BODIES = {
    [0] = function() end,
    [1] = function(tree, tvb, length) add_announcement(add_payload(tree, tvb, 12, length)) end,
    [2] = function(tree, tvb, length)
        add_key(tree, f.destination_key, tvb(12, KEY_LENGTH))
        local offset = add_watermark(tree, tvb, 12 + KEY_LENGTH)
        add_signed(add_payload(tree, tvb, offset, length))
    end,
    [3] = function(tree, tvb, length)
        local offset, source, coords
        offset, coords = add_coords(tree, f.destination, tvb, 12)
        offset, source = add_coords(tree, f.source, tvb, offset)
        add_key(tree, f.destination_key, tvb(offset, KEY_LENGTH))
        add_key(tree, f.source_key, tvb(offset + KEY_LENGTH, KEY_LENGTH))
        offset = offset + 2 * KEY_LENGTH
        if coords == "[]" then offset = add_watermark(tree, tvb, offset) end
        add_payload(tree, tvb, offset, length)
        return ", " .. source .. " to " .. coords
    end,
    [4] = function(tree, tvb, length)
        add_key(tree, f.source_key, tvb(12, KEY_LENGTH))
        add_signed(add_payload(tree, tvb, 12 + KEY_LENGTH, length))
    end,
}

local function show(pinfo, text)
    pinfo.cols.protocol = "Pinecone"
    pinfo.cols.info:append(" " .. text .. ";")
end

local function dissect_handshake(tvb, pinfo, tree)
    local branch = tree:add(pinecone, tvb(0, HANDSHAKE_LENGTH), "Pinecone handshake")
    branch:add(f.handshake, tvb(0, HANDSHAKE_LENGTH)):set_hidden(true)
    branch:add(f.handshake_version, tvb(0, 1))
    branch:add(f.capabilities, tvb(4, 4))
    add_key(branch, f.key, tvb(8, KEY_LENGTH))
    branch:add(f.signature, tvb(40, SIGNATURE_LENGTH))
    show(pinfo, "Handshake of " .. address(tvb(8, KEY_LENGTH)))
end

local function dissect_frame(tvb, pinfo, tree)
    local kind = tvb(5, 1):uint()
    local name = FRAME_TYPES[kind] or ("Unknown type " .. kind)
    local branch = tree:add(pinecone, tvb(), "Pinecone, " .. name)
    branch:add(f.version, tvb(4, 1))
    branch:add(f.type, tvb(5, 1))
    branch:add(f.extra, tvb(6, 1))
    branch:add(f.hop_limit, tvb(7, 1))
    branch:add(f.length, tvb(8, 2))
    local detail = ""
    if BODIES[kind] ~= nil then
        local fine, result = pcall(function()
            if kind == 0 then return "" end
            branch:add(f.payload_length, tvb(10, 2))
            return BODIES[kind](branch, tvb, tvb(10, 2):uint())
        end)
        if fine then detail = result or "" else branch:add_proto_expert_info(malformed) end
    end
    show(pinfo, name .. detail)
end

-- How long the handshake or frame is that begins here; everything if it is neither.
local function unit_length(tvb, _, offset)
    if is_frame(tvb, offset) then return math.max(tvb(offset + 8, 2):uint(), HEADER_LENGTH) end
    if is_handshake(tvb, offset) then return HANDSHAKE_LENGTH end
    return tvb:len() - offset
end

local function dissect_unit(tvb, pinfo, tree)
    if is_frame(tvb, 0) then
        dissect_frame(tvb, pinfo, tree)
    elseif is_handshake(tvb, 0) and tvb:len() >= HANDSHAKE_LENGTH then
        dissect_handshake(tvb, pinfo, tree)
    else
        tree:add(pinecone, tvb(), "Pinecone?"):add_proto_expert_info(foreign)
    end
    return tvb:len()
end

function pinecone.dissector(tvb, pinfo, tree)
    pinfo.cols.info = ""
    dissect_tcp_pdus(tvb, tree, HEADER_LENGTH, unit_length, dissect_unit)
    return tvb:len()
end

local function begins_here(tvb) return is_frame(tvb, 0) or is_handshake(tvb, 0) end

pinecone:register_heuristic("tcp", function(tvb, pinfo, tree)
    if not begins_here(tvb) then return false end
    pinfo.conversation = pinecone
    pinfo.can_desegment = 2  -- what Wireshark takes from heuristics: a frame may go on in the next segment
    pinecone.dissector(tvb, pinfo, tree)
    return true
end)

-- In WebSockets there is a unit at the beginning of nearly every message; what goes on in the next is not shown.
local function dissect_message(tvb, pinfo, tree)
    if not begins_here(tvb) then return false end
    local offset = 0
    while tvb:len() - offset >= HEADER_LENGTH do
        local length = unit_length(tvb, pinfo, offset)
        if length > tvb:len() - offset then break end
        dissect_unit(tvb(offset, length):tvb(), pinfo, tree)
        offset = offset + length
    end
    return true
end

pcall(function() pinecone:register_heuristic("ws", dissect_message) end)

local beacon = Proto("pinecone_beacon", "Pinecone beacon")

function beacon.dissector(tvb, pinfo, tree)
    if tvb:len() < BEACON_LENGTH then return 0 end
    local branch = tree:add(beacon, tvb(0, BEACON_LENGTH))
    add_key(branch, f.key, tvb(0, KEY_LENGTH))
    branch:add(f.beacon_port, tvb(KEY_LENGTH, 2))
    pinfo.cols.protocol = "Pinecone"
    pinfo.cols.info = "Beacon of " .. address(tvb(0, KEY_LENGTH)) .. ", TCP port " .. tvb(KEY_LENGTH, 2):uint()
    return BEACON_LENGTH
end

DissectorTable.get("tcp.port"):add_for_decode_as(pinecone)
DissectorTable.get("udp.port"):add(BEACON_PORT, beacon)
