-- Seals what waits, in transactions of 900, until less than a batch is left or the bound on passes is met.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `seal_backlog`(IN p_passes INT UNSIGNED)
    MODIFIES SQL DATA
BEGIN
  DECLARE v_sealed INT UNSIGNED;
  DECLARE v_size BIGINT UNSIGNED;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    ROLLBACK AND NO CHAIN NO RELEASE; -- or this session would go on holding the head
    RESIGNAL;
  END;
  REPEAT
    SET p_passes = p_passes - 1;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    START TRANSACTION;
    SELECT size INTO v_size FROM chain_head WHERE id = 1 FOR UPDATE;
    CALL seal_batch(v_sealed);
    COMMIT AND NO CHAIN NO RELEASE;
  UNTIL v_sealed < 900 OR p_passes = 0 END REPEAT;
END
