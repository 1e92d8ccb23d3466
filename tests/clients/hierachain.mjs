// Kết nối WebSocket
const ws = new WebSocket(globalThis.CLIENT_URL); // changed: was 'ws://localhost:2661/ws'

// Xử lý khi kết nối
ws.onopen = () => {
  console.log('✅ Connected to HieraChain WebSocket');

  // Subscribe vào chain 'supply_chain'
  ws.send(JSON.stringify({
    action: 'subscribe',
    chain_name: 'supply_chain'
  }));

  // Hoặc subscribe theo event type
  ws.send(JSON.stringify({
    action: 'subscribe',
    chain_name: 'supply_chain',
    event_type: 'production_complete'
  }));
};

// Nhận message
ws.onmessage = (event) => {
  const data = JSON.parse(event.data);

  switch (data.type) {
    case 'new_block':
      console.log('🆕 New block:', data.data.block_hash);
      break;
    case 'new_event':
      console.log('📝 New event:', data.data.event_type);
      break;
    case 'pong':
      console.log('💚 Pong received');
      break;
    case 'error':
      console.error('❌ Error:', data.message);
      break;
  }
};

// Xử lý lỗi
ws.onerror = (error) => {
  console.error('WebSocket error:', error);
};

// Xử lý đóng kết nối
ws.onclose = () => {
  console.log('🔌 Disconnected');
};

// Keep-alive: gửi ping mỗi 30 giây
setInterval(() => {
  if (ws.readyState === WebSocket.OPEN) {
    ws.send(JSON.stringify({ action: 'ping' }));
  }
}, 30000);
